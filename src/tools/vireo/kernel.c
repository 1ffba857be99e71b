/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/vireo/kernel.h"

#include "base/log.h"
#include "base/str.h"
#include "os/path.h"
#include "os/process.h"

#include <errno.h>
#include <glob.h>

#define KERNEL_PACKAGE  "linux-image-cloud-amd64"
#define BUSYBOX_PACKAGE "busybox-static"

void guest_kernel_done(struct guest_kernel *k)
{
    free(k->image);
    free(k->version);
    free(k->modules);
    free(k->busybox);
    *k = (struct guest_kernel) { .image = NULL };
}

/* The last match in version order of PREFIX/boot/vmlinuz-*-cloud-amd64 that can be read. */
static char *newest_image(const char *prefix)
{
    AUTO_FREE char *pattern = str_format("%s/boot/vmlinuz-*-cloud-amd64", prefix);
    char *best = NULL;
    glob_t g;

    if (pattern == NULL || glob(pattern, 0, NULL, &g) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < g.gl_pathc; i++) {
        if (access(g.gl_pathv[i], R_OK) == 0 &&
            (best == NULL || strverscmp(g.gl_pathv[i], best) > 0)) {
            free(best);
            best = strdup(g.gl_pathv[i]);
        }
    }
    globfree(&g);
    return best;
}

static int take_kernel(struct guest_kernel *k, const char *prefix)
{
    k->image = newest_image(prefix);
    if (k->image == NULL) {
        return -ENOENT;
    }
    k->version = strdup(strstr(k->image, "vmlinuz-") + strlen("vmlinuz-"));
    if (k->version == NULL) {
        return -ENOMEM;
    }
    k->modules = str_format("%s/lib/modules/%s", prefix, k->version);
    if (k->modules != NULL && !path_exists(k->modules)) {
        free_memp(&k->modules);
    }
    return k->modules != NULL ? 0 : -ENOENT;
}

static int unpack(const char *package, const char *cache, struct err **err)
{
    AUTO_FREE char *script = str_format(
        "set -e; cd '%s'; mkdir -p unpack; cd unpack; rm -f ./*.deb; apt-get download -q '%s' >/dev/null; "
        "dpkg-deb -x ./*.deb ..; rm -f ./*.deb",
        cache, package);
    const char *const argv[] = { "sh", "-c", script, NULL };
    AUTO_FREE char *out = NULL;

    if (script == NULL || strchr(cache, '\'') != NULL) {
        return err_set(err, EINVAL, "cannot use the cache folder '%s'", cache);
    }
    log_note("fetching %s into %s (once)", package, cache);
    return process_capture(argv, 1 << 20, &out, err);
}

/* The real image package that the meta package depends on. */
static int image_package(char **ret, struct err **err)
{
    const char *const argv[] = { "apt-cache", "depends", KERNEL_PACKAGE, NULL };
    AUTO_FREE char *out = NULL;
    const char *at;
    int r = process_capture(argv, 1 << 20, &out, err);

    if (r < 0) {
        return r;
    }
    at = strstr(out, "Depends: linux-image-");
    if (at == NULL) {
        return err_set(err, ENOENT, "apt does not know '%s': run 'apt-get update'", KERNEL_PACKAGE);
    }
    at += strlen("Depends: ");
    *ret = strndup(at, strcspn(at, " \n"));
    return *ret != NULL ? 0 : -ENOMEM;
}

static int find_busybox(struct guest_kernel *k, const char *cache, struct err **err)
{
    AUTO_FREE char *cached = path_join(cache, "bin/busybox");
    int r;

    if (access("/usr/share/doc/busybox-static", F_OK) == 0 && access("/bin/busybox", X_OK) == 0) {
        k->busybox = strdup("/bin/busybox");
        return k->busybox != NULL ? 0 : -ENOMEM;
    }
    if (cached == NULL) {
        return -ENOMEM;
    }
    if (access(cached, X_OK) != 0) {
        r = unpack(BUSYBOX_PACKAGE, cache, err);
        if (r < 0) {
            err_prefix(err, "no static busybox (install the package '%s'): ", BUSYBOX_PACKAGE);
            return r;
        }
    }
    k->busybox = TAKE_PTR(cached);
    return 0;
}

int guest_kernel_find(struct guest_kernel *ret, struct err **err)
{
    AUTO_FREE char *cache = path_of(PATH_CACHE, false, "debian");
    AUTO_FREE char *package = NULL;
    struct guest_kernel k = { .image = NULL };
    int r;

    if (cache == NULL) {
        return -ENOMEM;
    }
    if (take_kernel(&k, "") < 0) {
        guest_kernel_done(&k);
        r = take_kernel(&k, cache);
        if (r < 0) {
            guest_kernel_done(&k);
            r = path_make_folders(cache, 0755, err);
            r = r == 0 ? image_package(&package, err) : r;
            r = r == 0 ? unpack(package, cache, err) : r;
            if (r < 0) {
                err_prefix(
                    err, "no guest kernel (install the package '%s', or name one with --kernel): ",
                    KERNEL_PACKAGE);
                return r;
            }
            r = take_kernel(&k, cache);
        }
        if (r < 0) {
            guest_kernel_done(&k);
            return err_set(err, ENOENT,
                           "no guest kernel: install the package '%s', or name one with --kernel",
                           KERNEL_PACKAGE);
        }
    }
    r = find_busybox(&k, cache, err);
    if (r < 0) {
        guest_kernel_done(&k);
        return r;
    }
    *ret = k;
    return 0;
}
