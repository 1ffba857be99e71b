/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.c - the command line: QEMU's option names in one table, from which parsing and -help
 * come.
 */
#include "vmm/cli/config.h"
#include "vmm/cli/help.h"
#include "vmm/cli/readconfig.h"

#include "base/log.h"
#include "base/opt.h"
#include "base/str.h"
#include "codec/flatten.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

enum { INFO_ANSWERED = 1 };

struct cli_option {
    const char *name;
    const char *arg; /* form of the argument, NULL: none */
    const char *help;
    int (*set)(struct config *c, const char *value, struct err **err);
};

extern const struct cli_option cli_options[];

static int set_text(char **to, const char *value)
{
    char *copy = strdup(value);

    if (copy == NULL) {
        return -ENOMEM;
    }
    free(*to);
    *to = copy;
    return 0;
}

static int add_text(struct config_texts *t, const char *value)
{
    char **more = reallocarray(t->items, t->n + 1, sizeof(*more));

    if (more == NULL) {
        return -ENOMEM;
    }
    t->items = more;
    t->items[t->n] = strdup(value);
    return t->items[t->n++] != NULL ? 0 : -ENOMEM;
}

static int add_list(struct config *c, enum config_list_kind kind, const char *value,
                    const char *implied, bool flags, struct err **err)
{
    struct config_list *l = &c->lists[kind];
    struct keyval **more = reallocarray(l->items, l->n + 1, sizeof(*more));
    int r;

    if (more == NULL) {
        return -ENOMEM;
    }
    l->items = more;
    r = keyval_parse_any(value, implied, flags, &l->items[l->n], err);
    l->n += r == 0;
    return r;
}

static int merge(struct keyval *into, const struct keyval *from)
{
    int r = 0;

    for (size_t i = 0; i < from->n && r == 0; i++) {
        r = keyval_add(into, from->pairs[i].key, from->pairs[i].value);
    }
    return r;
}

static int set_machine(struct config *c, const char *v, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    const char *accel;
    int r;

    if (str_eq(v, "help") || str_eq(v, "?")) {
        help_machines();
        return INFO_ANSWERED;
    }
    r = keyval_parse(v, "type", true, &kv, err);
    if (r == 0) {
        r = merge(c->machine, kv);
    }
    accel = r == 0 ? keyval_get(kv, "accel") : NULL;
    return accel != NULL ? set_text(&c->accel, accel) : r;
}

static int set_accel(struct config *c, const char *v, struct err **err)
{
    size_t len = strcspn(v, ",");
    AUTO_FREE char *name = strndup(v, len);

    (void)err;
    if (name != NULL && (str_eq(name, "help") || str_eq(name, "?"))) {
        c->accel_help = true;
        return 0;
    }
    return name != NULL ? set_text(&c->accel, name) : -ENOMEM;
}

static int set_enable_kvm(struct config *c, const char *v, struct err **err)
{
    (void)v;
    (void)err;
    return set_text(&c->accel, "kvm");
}

static int set_cpu(struct config *c, const char *v, struct err **err)
{
    (void)err;
    if (str_eq(v, "help") || str_eq(v, "?")) {
        help_cpus();
        return INFO_ANSWERED;
    }
    return set_text(&c->cpu, v);
}

static int set_memory(struct config *c, const char *v, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    const char *size;
    uint64_t plain;
    int r = keyval_parse(v, "size", false, &kv, err);

    if (r < 0) {
        return r;
    }
    size = keyval_get(kv, "size");
    if (size == NULL) {
        return err_set(err, EINVAL, "a size is missing");
    }
    if (str_to_u64(size, 10, &plain) == 0) { /* without a suffix: MiB */
        if (plain > UINT64_MAX >> 20) {
            return err_set(err, ERANGE, "'%s' is too much memory", size);
        }
        c->memory = plain << 20;
        return 0;
    }
    return opt_parse_size(size, &c->memory) < 0
               ? err_set(err, EINVAL, "'%s' is no memory size (512, 2G ...)", size)
               : 0;
}

/* What is not given follows from the rest, sockets last, as QEMU 6.2 and newer do it. */
static int set_smp(struct config *c, const char *v, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    unsigned long long cpus = 0;
    unsigned long long max = 0;
    unsigned long long sockets = 0;
    unsigned long long cores = 0;
    unsigned long long threads = 0;
    unsigned long long dies = 1;
    const struct {
        const char *key;
        unsigned long long *to;
    } numbers[] = { { "cpus", &cpus },   { "maxcpus", &max },     { "sockets", &sockets },
                    { "cores", &cores }, { "threads", &threads }, { "dies", &dies } };
    int r = keyval_parse_any(v, "cpus", false, &kv, err);

    for (size_t i = 0; r == 0 && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        r = keyval_get_u64(kv, numbers[i].key, *numbers[i].to, numbers[i].to, err);
        if (r == 0 && *numbers[i].to > 1024) {
            r = err_set(err, EINVAL, "'%s': %s: at most 1024", v, numbers[i].key);
        }
    }
    if (r == 0) {
        r = keyval_check_used(kv, err);
    }
    if (r < 0) {
        return r;
    }
    if (max == 0) {
        max = cpus != 0 ? cpus
                        : (sockets != 0 ? sockets : 1) * (cores != 0 ? cores : 1) *
                              (threads != 0 ? threads : 1);
    }
    if (cpus == 0) {
        cpus = max;
    }
    if (sockets == 0 && cores == 0) {
        threads = threads != 0 ? threads : 1;
        cores = 1;
        sockets = max / threads;
    } else if (cores == 0) {
        threads = threads != 0 ? threads : 1;
        cores = max / (sockets * threads);
    } else if (sockets == 0) {
        threads = threads != 0 ? threads : 1;
        sockets = max / (cores * threads);
    } else if (threads == 0) {
        threads = max / (sockets * cores);
    }
    if (cpus == 0 || cpus > max) {
        return err_set(err, EINVAL, "'%s': the number of CPUs must be 1 or more, at most maxcpus",
                       v);
    }
    if (sockets * cores * threads * dies != max) {
        return err_set(err, EINVAL,
                       "'%s': sockets (%llu) * cores (%llu) * threads (%llu) is not maxcpus (%llu)",
                       v, sockets, cores, threads, max);
    }
    c->n_cpus = (unsigned)cpus;
    c->max_cpus = (unsigned)max;
    c->sockets = (unsigned)sockets;
    c->cores = (unsigned)cores;
    c->threads = (unsigned)threads;
    return 0;
}

#define TEXT_OPTION(fn, member)                                      \
    static int fn(struct config *c, const char *v, struct err **err) \
    {                                                                \
        (void)err;                                                   \
        return set_text(&c->member, v);                              \
    }
TEXT_OPTION(set_kernel, kernel)
TEXT_OPTION(set_initrd, initrd)
TEXT_OPTION(set_append, append)
TEXT_OPTION(set_bios, bios)
TEXT_OPTION(set_incoming, incoming)
TEXT_OPTION(set_loadvm, loadvm)
TEXT_OPTION(set_pidfile, pidfile)
TEXT_OPTION(set_uuid, uuid)

#define FLAG_OPTION(fn, member)                                      \
    static int fn(struct config *c, const char *v, struct err **err) \
    {                                                                \
        (void)v;                                                     \
        (void)err;                                                   \
        c->member = true;                                            \
        return 0;                                                    \
    }
FLAG_OPTION(set_nodefaults, nodefaults)
FLAG_OPTION(set_no_reboot, no_reboot)
FLAG_OPTION(set_no_shutdown, no_shutdown)
FLAG_OPTION(set_stopped, start_stopped)
FLAG_OPTION(set_daemonize, daemonize)
FLAG_OPTION(set_quiet, quiet)
FLAG_OPTION(set_snapshot, snapshot)

#define LIST_OPTION(fn, kind, implied, flags)                        \
    static int fn(struct config *c, const char *v, struct err **err) \
    {                                                                \
        return add_list(c, kind, v, implied, flags, err);            \
    }
LIST_OPTION(set_chardev, LIST_CHARDEV, "backend", true)
LIST_OPTION(set_blockdev, LIST_BLOCKDEV, "driver", false)
LIST_OPTION(set_netdev, LIST_NETDEV, "type", true)
LIST_OPTION(set_fsdev, LIST_FSDEV, "fsdriver", true)
LIST_OPTION(set_virtfs, LIST_VIRTFS, "fsdriver", true)
LIST_OPTION(set_object, LIST_OBJECT, "qom-type", true)
LIST_OPTION(set_fw_cfg, LIST_FW_CFG, "name", false)
LIST_OPTION(set_mon, LIST_MON, "chardev", true)
LIST_OPTION(set_smbios, LIST_SMBIOS, "file", true)
LIST_OPTION(set_numa, LIST_NUMA, "type", true)
LIST_OPTION(set_boot, LIST_BOOT, "order", true)
LIST_OPTION(set_vnc, LIST_VNC, "display", true)
LIST_OPTION(set_drive, LIST_DRIVE, "file", true)

static int set_device(struct config *c, const char *v, struct err **err)
{
    if (str_eq(v, "help") || str_eq(v, "?")) {
        help_devices();
        return INFO_ANSWERED;
    }
    if (str_ends(v, ",help") || str_ends(v, ",?")) {
        AUTO_FREE char *name = strndup(v, strcspn(v, ","));
        int r = name != NULL ? help_device(name, err) : -ENOMEM;

        return r < 0 ? r : INFO_ANSWERED;
    }
    return add_list(c, LIST_DEVICE, v, "driver", true, err);
}

static int set_nic(struct config *c, const char *v, struct err **err)
{
    if (str_eq(v, "none")) {
        c->no_nic = true;
        return 0;
    }
    return add_list(c, LIST_NIC, v, "type", true, err);
}

static int set_serial(struct config *c, const char *v, struct err **err)
{
    (void)err;
    return add_text(&c->serials, v);
}

static const struct cli_option *find_option(const char *name);

static int set_monitor(struct config *c, const char *v, struct err **err)
{
    (void)err;
    return str_eq(v, "none") ? 0 : add_text(&c->monitors, v);
}

static int set_qmp(struct config *c, const char *v, struct err **err)
{
    (void)err;
    return add_text(&c->qmps, v);
}

static int set_display(struct config *c, const char *v, struct err **err)
{
    if (str_eq(v, "help") || str_eq(v, "?")) {
        (void)puts("Available display backend types:\nnone");
        return INFO_ANSWERED;
    }
    if (!str_eq(v, "none")) {
        return err_set(err, EINVAL, "'%s' is no display of ours: use none", v);
    }
    c->display = DISPLAY_NONE;
    return 0;
}

static int set_vga(struct config *c, const char *v, struct err **err)
{
    static const char *const kinds[] = { "none", "std", "virtio" };

    if (str_eq(v, "help")) {
        (void)puts("none                 no graphic card\n"
                   "std                  standard VGA (default)\n"
                   "virtio               Virtio VGA");
        return INFO_ANSWERED;
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (str_eq(v, kinds[i])) {
            return set_text(&c->vga, v);
        }
    }
    return err_set(err, EINVAL, "'%s' is no graphics card of ours: use std, virtio or none", v);
}

/* -hda FILE is -drive if=DEFAULT,index=0,file=FILE; commas in the name are doubled. */
static int add_shorthand(struct config *c, const char *file, const char *rest, struct err **err)
{
    struct strbuf text = STRBUF_INIT(8192);
    AUTO_FREE char *s = NULL;

    strbuf_puts(&text, rest);
    strbuf_puts(&text, ",file=");
    for (const char *p = file; *p != '\0'; p++) {
        strbuf_append(&text, p, 1);
        if (*p == ',') {
            strbuf_append(&text, p, 1);
        }
    }
    s = strbuf_take(&text);
    return s != NULL ? add_list(c, LIST_DRIVE, s, NULL, false, err) : -ENOMEM;
}

#define SHORTHAND_OPTION(fn, rest)                                   \
    static int fn(struct config *c, const char *v, struct err **err) \
    {                                                                \
        return add_shorthand(c, v, rest, err);                       \
    }
SHORTHAND_OPTION(set_hda, "index=0")
SHORTHAND_OPTION(set_hdb, "index=1")
SHORTHAND_OPTION(set_hdc, "index=2")
SHORTHAND_OPTION(set_hdd, "index=3")
SHORTHAND_OPTION(set_cdrom, "index=2,media=cdrom")
SHORTHAND_OPTION(set_pflash, "if=pflash,format=raw")

static int set_parallel(struct config *c, const char *v, struct err **err)
{
    (void)c;
    return str_eq(v, "none")
               ? 0
               : err_set(err, EINVAL, "'%s': there are no parallel ports; use none", v);
}

static int set_audiodev(struct config *c, const char *v, struct err **err)
{
    size_t len = strcspn(v, ",");

    (void)c;
    if ((len == 4 && strncmp(v, "none", 4) == 0) || str_starts(v, "driver=none") ||
        strstr(v, "\"none\"") != NULL) {
        return 0;
    }
    return err_set(err, EINVAL, "'%s': there is no sound; use the driver none", v);
}

/* What an option's properties may be, each "name=value", ends with NULL. */
static int only_these(const char *v, const char *const allowed[], struct err **err)
{
    for (const char *at = v; *at != '\0';) {
        size_t len = strcspn(at, ",");
        unsigned i = 0;

        while (allowed[i] != NULL &&
               (strlen(allowed[i]) != len || strncmp(allowed[i], at, len) != 0)) {
            i++;
        }
        if (allowed[i] == NULL) {
            return err_set(err, EINVAL, "'%.*s' is not possible here: only %s and the like",
                           (int)len, at, allowed[0]);
        }
        at += len + (at[len] == ',');
    }
    return 0;
}

/* Memory is never locked, and an idle guest leaves the processor. */
static int set_overcommit(struct config *c, const char *v, struct err **err)
{
    static const char *const allowed[] = { "mem-lock=off", "cpu-pm=off", NULL };

    (void)c;
    return only_these(v, allowed, err);
}

static int set_msg(struct config *c, const char *v, struct err **err)
{
    static const char *const allowed[] = { "timestamp=on", "timestamp=off", "timestamp",
                                           "guest-name=off", NULL };
    int r = only_these(v, allowed, err);

    (void)c;
    if (r == 0 && str_starts(v, "timestamp")) {
        log_set_timestamps(!str_starts(v, "timestamp=off"));
    }
    return r;
}

static int set_data_dir(struct config *c, const char *v, struct err **err)
{
    (void)err;
    if (str_eq(v, "help")) {
        (void)puts("/usr/share/seabios\n/usr/share/qemu\n/usr/lib/ipxe/qemu\n/usr/share/ovmf\n"
                   "/usr/share/OVMF");
        return INFO_ANSWERED;
    }
    return add_text(&c->data_dirs, v);
}

static int set_off(struct config *c, const char *key, struct err **err)
{
    (void)err;
    return keyval_add(c->machine, key, "off");
}

static int set_no_acpi(struct config *c, const char *v, struct err **err)
{
    (void)v;
    return set_off(c, "acpi", err);
}

static int set_no_hpet(struct config *c, const char *v, struct err **err)
{
    (void)v;
    return set_off(c, "hpet", err);
}

static int set_usb(struct config *c, const char *v, struct err **err)
{
    (void)v;
    (void)err;
    return keyval_add(c->machine, "usb", "on");
}

static int set_nographic(struct config *c, const char *v, struct err **err)
{
    (void)v;
    (void)err;
    c->display = DISPLAY_NOGRAPHIC;
    return 0;
}

static int set_nothing(struct config *c, const char *v, struct err **err)
{
    (void)c;
    (void)v;
    (void)err;
    return 0;
}

static int set_name(struct config *c, const char *v, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r = keyval_parse(v, "guest", true, &kv, err);
    const char *guest = r == 0 ? keyval_get(kv, "guest") : NULL;

    return guest != NULL ? set_text(&c->name, guest) : r;
}

static int set_rtc(struct config *c, const char *v, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    int r = keyval_parse(v, NULL, true, &kv, err);
    const char *base = r == 0 ? keyval_get(kv, "base") : NULL;

    return base != NULL ? set_text(&c->rtc_base, base) : r;
}

static int set_sandbox(struct config *c, const char *v, struct err **err)
{
    (void)err;
    c->sandbox_off = str_starts(v, "off") || str_starts(v, "enable=off");
    return 0;
}

static int set_trace(struct config *c, const char *v, struct err **err)
{
    const char *pattern = str_starts(v, "enable=") ? v + 7 : v;

    (void)c;
    (void)err;
    log_set_level(LOG_DEBUG);
    return trace_enable(pattern);
}

static int set_debug(struct config *c, const char *v, struct err **err)
{
    return str_starts(v, "trace:") ? set_trace(c, v + 6, err) : set_trace(c, "*", err);
}

static int set_global(struct config *c, const char *v, struct err **err)
{
    (void)c;
    /* Tick policies are the in-kernel PIT's business; ours drops what is lost. */
    if (str_starts(v, "kvm-pit.lost_tick_policy=")) {
        return 0;
    }
    return err_set(err, EINVAL, "'%s': no device of ours has that property", v);
}

static int set_watchdog_action(struct config *c, const char *v, struct err **err)
{
    return watchdog_action_parse(v, &c->watchdog_action) < 0
               ? err_set(err, EINVAL,
                         "'%s': use reset, shutdown, poweroff, pause, debug, none or inject-nmi", v)
               : 0;
}

/* EVENT=ACTION, as QMP's set-action. */
static int set_action(struct config *c, const char *v, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    const char *reboot;
    const char *shutdown;
    const char *panic;
    const char *watchdog;
    int r = keyval_parse(v, NULL, false, &kv, err);

    if (r < 0) {
        return r;
    }
    reboot = keyval_get(kv, "reboot");
    shutdown = keyval_get(kv, "shutdown");
    panic = keyval_get(kv, "panic");
    watchdog = keyval_get(kv, "watchdog");
    if ((reboot != NULL && !str_eq(reboot, "reset") && !str_eq(reboot, "shutdown")) ||
        (shutdown != NULL && !str_eq(shutdown, "poweroff") && !str_eq(shutdown, "pause")) ||
        (panic != NULL && panic_action_parse(panic, &c->panic_action) < 0)) {
        return err_set(err, EINVAL,
                       "reboot=reset|shutdown, shutdown=poweroff|pause, "
                       "panic=shutdown|pause|exit-failure|none, watchdog=...");
    }
    c->no_reboot |= reboot != NULL && str_eq(reboot, "shutdown");
    c->no_shutdown |= shutdown != NULL && str_eq(shutdown, "pause");
    r = watchdog != NULL ? set_watchdog_action(c, watchdog, err) : 0;
    return r == 0 ? keyval_check_used(kv, err) : r;
}

static int set_runas(struct config *c, const char *v, struct err **err)
{
    const char *colon = strchr(v, ':');
    uint64_t uid;
    uint64_t gid;

    if (colon != NULL) {
        AUTO_FREE char *first = strndup(v, (size_t)(colon - v));

        if (first == NULL || str_to_u64(first, 10, &uid) < 0 ||
            str_to_u64(colon + 1, 10, &gid) < 0 || uid == 0 || uid > UINT32_MAX ||
            gid > UINT32_MAX) {
            return err_set(err, EINVAL, "'%s' is neither a user nor UID:GID", v);
        }
    } else {
        const struct passwd *pw = getpwnam(v);

        if (pw == NULL) {
            return err_set(err, ENOENT, "there is no user '%s'", v);
        }
        uid = pw->pw_uid;
        gid = pw->pw_gid;
    }
    c->run_uid = (unsigned)uid;
    c->run_gid = (unsigned)gid;
    return 0;
}

static int set_gdb(struct config *c, const char *v, struct err **err)
{
    (void)err;
    return set_text(&c->gdb, v);
}

static int set_gdb_default(struct config *c, const char *v, struct err **err)
{
    (void)v;
    return set_gdb(c, "tcp::1234", err);
}

static int set_net(struct config *c, const char *v, struct err **err)
{
    if (str_eq(v, "none")) {
        c->no_nic = true;
        return 0;
    }
    return err_set(err, ENOTSUP,
                   "'%s': there are no hubs; use -nic, as '-nic user,model=virtio', or -netdev with "
                   "-device",
                   v);
}

static int take_section(void *arg, const char *option, const char *value, struct err **err)
{
    struct config *c = arg;
    const struct cli_option *o = find_option(option);
    int r;

    if (o == NULL || o->arg == NULL) {
        return err_set(err, EINVAL, "there is no group '%s'", option);
    }
    r = o->set(c, str_eq(option, "m") && str_starts(value, "size=") ? value + 5 : value, err);
    if (r < 0) {
        err_prefix(err, "[%s]: ", option);
    }
    return r;
}

static int set_readconfig(struct config *c, const char *v, struct err **err)
{
    return readconfig(v, take_section, c, err);
}

static int show_version(struct config *c, const char *v, struct err **err)
{
    (void)c;
    (void)v;
    (void)err;
    help_version();
    return INFO_ANSWERED;
}

static int show_help(struct config *c, const char *v, struct err **err)
{
    (void)c;
    (void)v;
    (void)err;
    help_version();
    (void)printf("usage: vireo-system-x86_64 [options]\n\n");
    for (const struct cli_option *o = cli_options; o->name != NULL; o++) {
        AUTO_FREE char *left =
            str_format("-%s%s%s", o->name, o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");

        (void)printf("%-36s %s\n", left != NULL ? left : "", o->help);
    }
    (void)printf("\nIn a terminal under -nographic: Ctrl-A x quits, Ctrl-A h helps.\n");
    return INFO_ANSWERED;
}

static const struct cli_option *find_option(const char *name)
{
    for (const struct cli_option *o = cli_options; o->name != NULL; o++) {
        if (str_eq(o->name, name)) {
            return o;
        }
    }
    return NULL;
}

static const char *nearest_option(const char *name)
{
    const char *best = NULL;
    unsigned best_distance = 4;

    for (const struct cli_option *o = cli_options; o->name != NULL; o++) {
        unsigned d = str_distance(o->name, name);

        if (d < best_distance) {
            best_distance = d;
            best = o->name;
        }
    }
    return best;
}

int config_parse(struct config *c, int argc, char **argv, struct err **err)
{
    *c = (struct config) {
        .memory = 128 << 20, .n_cpus = 1, .max_cpus = 1, .sockets = 1, .cores = 1, .threads = 1
    };
    if (keyval_parse("", NULL, false, &c->machine, err) < 0) {
        return -EINVAL;
    }
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        const char *name = arg + (arg[0] == '-') + (arg[0] == '-' && arg[1] == '-');
        const struct cli_option *o = arg[0] == '-' ? find_option(name) : NULL;
        const char *value = NULL;
        int r;

        if (arg[0] != '-') {
            return err_set(err, EINVAL,
                           "'%s' is no option; a disk is given by -drive file=%s,format=raw", arg,
                           arg);
        }
        if (o == NULL) {
            const char *near = nearest_option(name);

            return near != NULL
                       ? err_set(err, EINVAL, "unknown option '%s': did you mean '-%s'?", arg, near)
                       : err_set(err, EINVAL, "unknown option '%s': see -help", arg);
        }
        if (o->arg != NULL) {
            if (i + 1 >= argc) {
                return err_set(err, EINVAL, "option '-%s' needs an argument: %s", o->name, o->arg);
            }
            value = argv[++i];
        }
        r = o->set(c, value, err);
        if (r != 0) {
            if (r == -ENOMEM) {
                (void)err_set(err, ENOMEM, "no memory");
            }
            if (r < 0 && value != NULL) {
                err_prefix(err, "-%s: ", o->name);
            }
            return r;
        }
    }
    return 0;
}

/* libvirt asks for parameters of a few options; those that take any are told with none. */
struct json_object *cli_describe_options(void)
{
    struct json_object *list = json_object_new_array();

    for (const struct cli_option *o = cli_options; o->name != NULL; o++) {
        struct json_object *entry = json_object_new_object();

        (void)json_add_str(entry, "option",
                           str_eq(o->name, "smp")    ? "smp-opts"
                           : str_eq(o->name, "boot") ? "boot-opts"
                                                     : o->name);
        (void)json_add(entry, "parameters", json_object_new_array());
        (void)json_object_array_add(list, entry);
    }
    return list;
}

static void texts_done(struct config_texts *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->items[i]);
    }
    free(t->items);
}

void config_done(struct config *c)
{
    char *texts[] = { c->accel, c->cpu,  c->kernel,   c->initrd, c->append,   c->bios,  c->pidfile,
                      c->name,  c->uuid, c->rtc_base, c->vga,    c->incoming, c->loadvm,
                      c->gdb };

    (void)keyval_free(c->machine);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        free(texts[i]);
    }
    for (size_t k = 0; k < _LIST_MAX; k++) {
        for (size_t i = 0; i < c->lists[k].n; i++) {
            (void)keyval_free(c->lists[k].items[i]);
        }
        free(c->lists[k].items);
    }
    texts_done(&c->serials);
    texts_done(&c->monitors);
    texts_done(&c->qmps);
    texts_done(&c->data_dirs);
}

const struct cli_option cli_options[] = {
    { "M", "TYPE[,PROP=VALUE...]", "machine; '-M help' lists them", set_machine },
    { "machine", "TYPE[,PROP=VALUE...]", "the same", set_machine },
    { "accel", "NAME", "who runs the guest: kvm, vireo (alias tcg); 'help' probes", set_accel },
    { "enable-kvm", NULL, "as -accel kvm", set_enable_kvm },
    { "cpu", "MODEL[,+F][,-F]", "CPU model; '-cpu help' lists them", set_cpu },
    { "smp", "N", "number of CPUs", set_smp },
    { "m", "SIZE", "memory, in MiB without a suffix", set_memory },
    { "kernel", "FILE", "bzImage, ELF or Multiboot kernel to boot directly", set_kernel },
    { "initrd", "FILE", "initial RAM disk, or Multiboot modules", set_initrd },
    { "append", "TEXT", "kernel command line", set_append },
    { "bios", "FILE", "ROM that ends below 4 GiB", set_bios },
    { "hda", "FILE", "disk image of the first IDE place; -hdb, -hdc, -hdd the next", set_hda },
    { "hdb", "FILE", "as -hda", set_hdb },
    { "hdc", "FILE", "as -hda", set_hdc },
    { "hdd", "FILE", "as -hda", set_hdd },
    { "cdrom", "FILE", "CD-ROM image", set_cdrom },
    { "pflash", "FILE", "image of the firmware's flash", set_pflash },
    { "drive", "file=F[,PROP...]", "a disk image, and its device", set_drive },
    { "blockdev", "driver=D,node-name=N...", "a block node", set_blockdev },
    { "device", "DRIVER[,PROP=VALUE...]", "adds a device; '-device help'", set_device },
    { "netdev", "TYPE,id=ID[,PROP...]", "a network back end: user, tap, stream, dgram, socket",
      set_netdev },
    { "fsdev", "local,id=ID,path=DIR,security_model=M[,readonly=on]", "a folder to share by 9P",
      set_fsdev },
    { "virtfs", "local,path=DIR,mount_tag=T,security_model=M[,...]",
      "-fsdev and its virtio-9p device", set_virtfs },
    { "nic", "TYPE[,PROP...]|none", "a network back end and its device", set_nic },
    { "chardev", "BACKEND,id=ID[,PROP...]", "a character device", set_chardev },
    { "serial", "DEV", "serial port: stdio, mon:stdio, pty, file:F, null", set_serial },
    { "monitor", "DEV", "a human monitor there: stdio, pty, unix:PATH..., none", set_monitor },
    { "mon", "chardev=ID[,mode=readline|control]", "a monitor on a character device", set_mon },
    { "qmp", "unix:PATH,server=on,wait=off", "a QMP monitor", set_qmp },
    { "object", "TYPE,id=ID[,PROP...]", "rng-random, memory-backend-*", set_object },
    { "fw_cfg", "name=N,string=S|file=F", "a file for firmware and guest", set_fw_cfg },
    { "display", "none", "no display", set_display },
    { "vga", "std|virtio|none", "graphics card", set_vga },
    { "parallel", "none", "there are no parallel ports", set_parallel },
    { "nographic", NULL, "serial port and monitor on this terminal", set_nographic },
    { "nodefaults", NULL, "no default devices", set_nodefaults },
    { "no-user-config", NULL, "accepted: there are no configuration files", set_nothing },
    { "no-hpet", NULL, "no HPET", set_no_hpet },
    { "no-acpi", NULL, "no ACPI tables", set_no_acpi },
    { "snapshot", NULL, "what guests write to their disks is forgotten", set_snapshot },
    { "action", "EVENT=ACTION[,...]", "what happens on reboot, shutdown, panic, watchdog", set_action },
    { "watchdog-action", "ACTION", "what happens when the watchdog runs out", set_watchdog_action },
    { "runas", "USER|UID:GID", "who to be once set up", set_runas },
    { "readconfig", "FILE", "options from a file of sections", set_readconfig },
    { "net", "none", "no network card; for others use -nic", set_net },
    { "gdb", "DEV", "wait for gdb there: tcp::PORT, unix:PATH,server=on,wait=off", set_gdb },
    { "s", NULL, "as -gdb tcp::1234", set_gdb_default },
    { "no-reboot", NULL, "exit instead of rebooting", set_no_reboot },
    { "no-shutdown", NULL, "stop instead of exiting at power-off", set_no_shutdown },
    { "incoming", "fd:N|unix:P|tcp:H:P|file:F|defer", "take the machine's state from there",
      set_incoming },
    { "loadvm", "NAME", "go on from a saved state in the images", set_loadvm },
    { "S", NULL, "do not start the CPUs", set_stopped },
    { "name", "NAME", "the guest's name", set_name },
    { "uuid", "UUID", "the machine's UUID", set_uuid },
    { "rtc", "base=utc|localtime|DATE", "clock of the guest at the start", set_rtc },
    { "pidfile", "FILE", "write the process id there", set_pidfile },
    { "daemonize", NULL, "go to the background once set up", set_daemonize },
    { "sandbox", "on|off", "confinement of this process (default on)", set_sandbox },
    { "msg", "timestamp=on|off", "messages begin with the time", set_msg },
    { "overcommit", "mem-lock=off|cpu-pm=off", "host memory policy: nothing is locked",
      set_overcommit },
    { "boot", "[order=]DRIVES[,menu=on]...", "what firmware boots: c disk, d CD-ROM, n network",
      set_boot },
    { "smbios", "type=N[,FIELD=VALUE]...|file=F", "SMBIOS fields", set_smbios },
    { "numa", "node[,mem=SIZE][,cpus=A-B]", "a NUMA node", set_numa },
    { "L", "PATH", "folder of firmware files", set_data_dir },
    { "usb", NULL, "a USB controller", set_usb },
    { "vnc", "DISPLAY[,PROP...]", "a VNC server: HOST:N, unix:PATH or none", set_vnc },
    { "audiodev", "none,id=ID", "there is no sound", set_audiodev },
    { "global", "DRIVER.PROP=VALUE", "default of a device's property", set_global },
    { "trace", "PATTERN", "show trace points that match", set_trace },
    { "d", "trace:PATTERN", "the same", set_debug },
    { "quiet", NULL, "no notes on stderr", set_quiet },
    { "version", NULL, "show the version", show_version },
    { "help", NULL, "this text", show_help },
    { "h", NULL, "the same", show_help },
    { NULL, NULL, NULL, NULL },
};
