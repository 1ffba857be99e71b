/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/dynlib.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

int dynlib_open(const char *soname, const struct dynlib_symbol *symbols, size_t n, struct err **err)
{
    void *lib = dlopen(soname, RTLD_NOW | RTLD_LOCAL);

    if (lib == NULL) {
        return err_set(err, ENOENT, "cannot load %s, install its package: %s", soname, dlerror());
    }
    for (size_t i = 0; i < n; i++) {
        void *found = dlsym(lib, symbols[i].name);

        if (found == NULL) {
            return err_set(err, ENOENT, "%s lacks %s: it is too old", soname, symbols[i].name);
        }
        memcpy(symbols[i].place, &found, sizeof(found));
    }
    return 0;
}
