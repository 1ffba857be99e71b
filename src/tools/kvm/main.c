/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c - vireo-kvm COMMAND: runs a KVM client on Vireo's engine, on a machine with or without
 * /dev/kvm, by preloading the shim.
 */
#include "base/log.h"
#include "base/str.h"
#include "os/path.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

static const char usage[] =
    "usage: vireo-kvm COMMAND [ARGUMENT]...\n\n"
    "Runs COMMAND, a program that uses /dev/kvm (as qemu-system-x86_64 -accel kvm), on Vireo's engine.\n"
    "The machine needs no /dev/kvm. The exit status is COMMAND's.\n";

/* Beside the program in the build folder, else in the library folder beside bin/. */
static char *find_shim(void)
{
    static const char *const places[] = {
        "%s/libvireo-kvm-preload.so", "%s/../lib/vireo/libvireo-kvm-preload.so",
        "%s/../lib/x86_64-linux-gnu/vireo/libvireo-kvm-preload.so"
    };
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n <= 0) {
        return NULL;
    }
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        AUTO_FREE char *path = str_format(places[i], self);

        if (path != NULL && path_exists(path)) {
            return TAKE_PTR(path);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    AUTO_FREE char *shim = NULL;
    AUTO_FREE char *preload = NULL;
    const char *old = getenv("LD_PRELOAD");

    log_set_program("vireo-kvm");
    if (argc < 2) {
        (void)fputs(usage, stderr);
        return 1;
    }
    if (str_eq(argv[1], "--help") || str_eq(argv[1], "-h")) {
        (void)fputs(usage, stdout);
        return 0;
    }
    if (str_eq(argv[1], "--version")) {
        printf("vireo-kvm %s\n", VIREO_VERSION);
        return 0;
    }
    shim = find_shim();
    if (shim == NULL) {
        log_error("libvireo-kvm-preload.so is not installed beside vireo-kvm");
        return 1;
    }
    preload = str_format("%s%s%s", shim, old != NULL ? ":" : "", old != NULL ? old : "");
    if (preload == NULL || setenv("LD_PRELOAD", preload, 1) != 0) {
        log_error("no memory");
        return 1;
    }
    (void)execvp(argv[1], argv + 1);
    log_error("cannot run '%s': %s", argv[1], strerror(errno));
    return errno == ENOENT ? 127 : 126;
}
