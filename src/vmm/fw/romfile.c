/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/fw/romfile.h"

#include "base/str.h"
#include "os/fd.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const char *const dirs[] = { "/usr/share/seabios", "/usr/share/qemu", "/usr/lib/ipxe/qemu",
                                    "/usr/share/ovmf", "/usr/share/OVMF" };

int romfile_find(struct machine *m, const char *name, char **ret, struct err **err)
{
    unsigned n = m->n_data_dirs + (unsigned)(sizeof(dirs) / sizeof(dirs[0]));

    if (strchr(name, '/') != NULL || access(name, R_OK) == 0) {
        *ret = strdup(name);
        return *ret != NULL ? 0 : err_set(err, ENOMEM, "no memory");
    }
    for (unsigned i = 0; i < n; i++) {
        AUTO_FREE char *path = str_format(
            "%s/%s", i < m->n_data_dirs ? m->data_dirs[i] : dirs[i - m->n_data_dirs], name);

        if (path != NULL && access(path, R_OK) == 0) {
            *ret = TAKE_PTR(path);
            return 0;
        }
    }
    return err_set(err, ENOENT,
                   "'%s' is in none of the firmware folders: install Debian's seabios, ovmf or "
                   "ipxe-qemu package, or name its folder with -L",
                   name);
}

int romfile_read(struct machine *m, const char *name, size_t max, char **ret, size_t *ret_len,
                 struct err **err)
{
    AUTO_FREE char *path = NULL;
    int r = romfile_find(m, name, &path, err);

    if (r == 0) {
        r = file_slurp(path, max, ret, ret_len);
        if (r < 0) {
            r = err_set(err, -r, "cannot read '%s': %s", path, strerror(-r));
        }
    }
    return r;
}
