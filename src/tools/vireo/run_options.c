/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/vireo/run_options.h"

#include "base/opt.h"
#include "base/str.h"
#include "codec/size.h"

#include <errno.h>

const char run_help[] =
    "  --kernel FILE        bzImage to boot (default: Debian's cloud kernel)\n"
    "  --initrd FILE        initial file system of that kernel\n"
    "  --append TEXT        added to the kernel's command line\n"
    "  --disk FILE          a raw disk image as virtio disk; may be repeated\n"
    "  --cpus N             virtual CPUs (default 1)\n"
    "  --memory SIZE        memory (default 1G)\n"
    "  --net user|none      network (default user)\n"
    "  -p HOST:GUEST        forwards a TCP port of the host to the guest; may be repeated\n"
    "  --share DIR          shows the folder to the guest at the same path; may be repeated\n"
    "  --rw DIR             the same, and writes go through to the host\n"
    "  --rootfs DIR|IMAGE   root file system of COMMAND (default: the host's)\n"
    "  --accel NAME         kvm, vireo or auto (default auto)\n"
    "  --timeout SECONDS    ends the guest after that time, with status 124\n"
    "  --quiet              no messages but errors\n"
    "\n"
    "Without COMMAND a root shell runs on the terminal. COMMAND runs as root in the current folder, on the\n"
    "host's files seen read-only: what it writes stays in the guest's memory, but below --rw folders.\n"
    "The exit status is COMMAND's; 125 when the guest ended without one.\n";

enum kind { TEXT, LIST, CPUS, MEMORY, NET, TIMEOUT, QUIET };

struct option_row {
    const char *name;
    enum kind kind;
    size_t offset, count_offset;
};

static const struct option_row rows[] = {
    { "--kernel", TEXT, offsetof(struct run_options, kernel), 0 },
    { "--initrd", TEXT, offsetof(struct run_options, initrd), 0 },
    { "--append", TEXT, offsetof(struct run_options, append), 0 },
    { "--accel", TEXT, offsetof(struct run_options, accel), 0 },
    { "--rootfs", TEXT, offsetof(struct run_options, rootfs), 0 },
    { "--disk", LIST, offsetof(struct run_options, disk), offsetof(struct run_options, n_disks) },
    { "--share", LIST, offsetof(struct run_options, share),
      offsetof(struct run_options, n_shares) },
    { "--rw", LIST, offsetof(struct run_options, rw), offsetof(struct run_options, n_rws) },
    { "-p", LIST, offsetof(struct run_options, forward), offsetof(struct run_options, n_forwards) },
    { "--cpus", CPUS, 0, 0 },
    { "--memory", MEMORY, 0, 0 },
    { "--net", NET, 0, 0 },
    { "--timeout", TIMEOUT, 0, 0 },
    { "--quiet", QUIET, 0, 0 },
};

static const struct option_row *find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strlen(rows[i].name) == len && strncmp(rows[i].name, name, len) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static int unknown(const char *name, struct err **err)
{
    const char *best = NULL;
    unsigned least = 3;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned d = str_distance(rows[i].name, name);

        if (d < least) {
            least = d;
            best = rows[i].name;
        }
    }
    return best != NULL
               ? err_set(err, EINVAL, "unknown option '%s', did you mean '%s'?", name, best)
               : err_set(err, EINVAL, "unknown option '%s' (a command for the guest follows '--')",
                         name);
}

static int take(const struct option_row *row, const char *value, struct run_options *o,
                struct err **err)
{
    char *base = (char *)o;
    uint64_t bytes;

    switch (row->kind) {
    case TEXT:
        *(const char **)(void *)(base + row->offset) = value;
        return 0;
    case LIST: {
        unsigned *n = (unsigned *)(void *)(base + row->count_offset);

        if (*n == RUN_MAX_LIST) {
            return err_set(err, E2BIG, "more than %d times '%s'", RUN_MAX_LIST, row->name);
        }
        ((const char **)(void *)(base + row->offset))[(*n)++] = value;
        return 0;
    }
    case CPUS:
        if (str_to_u32(value, 255, &o->cpus) < 0 || o->cpus == 0) {
            return err_set(err, EINVAL, "'--cpus %s': write a number from 1 to 255", value);
        }
        return 0;
    case MEMORY:
        if (opt_parse_size(value, &bytes) < 0) {
            return err_set(err, EINVAL, "'--memory %s': write a size like 512M or 2G", value);
        }
        /* As elsewhere, a bare number counts MiB. */
        o->memory_mib = strspn(value, "0123456789") == strlen(value) ? bytes : bytes >> 20;
        if (o->memory_mib < 64) {
            return err_set(err, EINVAL, "'--memory %s' is too little: Linux needs at least 64M",
                           value);
        }
        return 0;
    case NET:
        if (!str_eq(value, "user") && !str_eq(value, "none")) {
            return err_set(err, EINVAL, "'--net %s': write user or none", value);
        }
        o->net = str_eq(value, "user");
        return 0;
    case TIMEOUT:
        if (duration_parse(value, &o->timeout_usec) < 0 || o->timeout_usec == 0) {
            return err_set(err, EINVAL, "'--timeout %s': write seconds", value);
        }
        return 0;
    case QUIET:
        o->quiet = true;
        return 0;
    }
    return 0;
}

int run_options_parse(int argc, char **argv, struct run_options *ret, struct err **err)
{
    struct run_options o = { .cpus = 1, .memory_mib = 1024, .net = true };

    for (int i = 1; i < argc; i++) {
        size_t len = strcspn(argv[i], "=");
        const struct option_row *row = find(argv[i], len);
        const char *value = argv[i][len] == '=' ? argv[i] + len + 1 : NULL;
        int r;

        if (str_eq(argv[i], "--")) {
            if (i + 1 < argc) {
                o.command = &argv[i + 1];
            }
            break;
        }
        if (row == NULL) {
            return unknown(argv[i], err);
        }
        if (row->kind != QUIET && value == NULL) {
            if (i + 1 >= argc) {
                return err_set(err, EINVAL, "'%s' needs a value", argv[i]);
            }
            value = argv[++i];
        }
        r = take(row, value, &o, err);
        if (r < 0) {
            return r;
        }
    }
    if (o.n_forwards != 0 && !o.net) {
        return err_set(err, EINVAL, "'-p' needs a network: leave out '--net none'");
    }
    if (o.kernel != NULL && o.initrd == NULL && o.command != NULL) {
        return err_set(err, EINVAL,
                       "a command in the guest needs vireo's own kernel: leave out '--kernel'");
    }
    *ret = o;
    return 0;
}
