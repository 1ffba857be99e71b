/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmdline.c - machine, CPU, memory, clock, boot; then each device by its kind. */
#include "mgmt/driver/qemu/cmdline.h"

#include "base/str.h"
#include "mgmt/driver/qemu/run.h"
#include "mgmt/model/domain/domain.h"
#include "mgmt/model/units.h"
#include "rpc/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void cmdline_arg(struct cmdline *c, const char *arg)
{
    if (c->argv == NULL) {
        c->argv = calloc(CMDLINE_ARGS_MAX + 1, sizeof(*c->argv));
    }
    if (c->argv == NULL || c->n >= CMDLINE_ARGS_MAX) {
        c->failed = true;
        return;
    }
    c->argv[c->n] = strdup(arg);
    if (c->argv[c->n] == NULL) {
        c->failed = true;
        return;
    }
    c->n++;
}

void cmdline_argf(struct cmdline *c, const char *fmt, ...)
{
    AUTO_FREE char *s = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0) {
        s = NULL;
        c->failed = true;
    }
    va_end(ap);
    if (s != NULL) {
        cmdline_arg(c, s);
    }
}

void cmdline_json(struct cmdline *c, const char *option, struct json_object *o)
{
    if (o == NULL) {
        c->failed = true;
        return;
    }
    cmdline_arg(c, option);
    cmdline_arg(c, json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
                                                         JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(o);
}

int cmdline_fd(struct cmdline *c, int fd)
{
    if (c->n_fds >= CMDLINE_FDS_MAX) {
        c->failed = true;
        (void)close(fd);
        return -1;
    }
    c->fds[c->n_fds++] = fd;
    return fd;
}

void cmdline_done(struct cmdline *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        free(c->argv[i]);
    }
    free(c->argv);
    for (unsigned i = 0; i < c->n_env; i++) {
        free(c->env[i]);
    }
    free(c->env);
    for (unsigned i = 0; i < c->n_fds; i++) {
        close_fdp(&c->fds[i]);
    }
}

/* A file name inside a keyval option: its commas are doubled. */
static char *keyval_escape(const char *s)
{
    struct strbuf b = STRBUF_INIT(65536);

    for (; *s != '\0'; s++) {
        strbuf_append(&b, s, 1);
        if (*s == ',') {
            strbuf_append(&b, s, 1);
        }
    }
    return strbuf_take(&b);
}

static bool feature_on(const struct node *def, const char *name)
{
    const struct node *f = node_child(node_child(def, "features"), name);

    return f != NULL && !node_is(f, "@state", "off");
}

static bool is_kvm(const struct node *def)
{
    return node_is(def, "@type", "kvm") && emulator_kvm_usable();
}

static void machine(struct cmdline *c)
{
    const struct node *def = c->def, *features = node_child(def, "features");
    struct strbuf b = STRBUF_INIT(8192);
    const struct node *loader = node_child(node_child(def, "os"), "loader");
    bool pflash = loader != NULL && node_is(loader, "@type", "pflash");
    const char *vmport = node_get(features, "vmport/@state"),
               *smm = node_get(features, "smm/@state");

    strbuf_printf(&b, "%s,usb=off", node_get(def, "os/type/@machine"));
    if (vmport != NULL) {
        strbuf_printf(&b, ",vmport=%s", vmport);
    }
    if (node_child(features, "smm") != NULL) {
        strbuf_printf(&b, ",smm=%s", smm != NULL ? smm : "on");
    }
    strbuf_printf(&b, ",dump-guest-core=%s", node_is(def, "memory/@dumpCore", "on") ? "on" : "off");
    if (node_get(features, "ioapic/@driver") != NULL && is_kvm(def)) {
        strbuf_printf(&b, ",kernel_irqchip=%s",
                      node_is(features, "ioapic/@driver", "qemu") ? "split" : "on");
    }
    if (pflash) {
        strbuf_puts(&b, ",pflash0=libvirt-pflash0-format");
        if (node_get(def, "os/nvram") != NULL) {
            strbuf_puts(&b, ",pflash1=libvirt-pflash1-format");
        }
    }
    if (node_child(node_child(def, "cpu"), "numa") == NULL) {
        strbuf_puts(&b, ",memory-backend=pc.ram");
    }
    if (feature_on(def, "acpi") == false && node_child(features, "acpi") == NULL) {
        strbuf_puts(&b, ",acpi=off");
    }
    cmdline_arg(c, "-machine");
    {
        AUTO_FREE char *s = strbuf_take(&b);

        cmdline_arg(c, s != NULL ? s : "");
    }
    cmdline_arg(c, "-accel");
    cmdline_arg(c, is_kvm(def) ? "kvm" : "tcg");
}

static void cpu(struct cmdline *c)
{
    const struct node *def = c->def, *cpu = node_child(def, "cpu");
    struct strbuf b = STRBUF_INIT(16384);
    const char *mode = cpu != NULL ? node_attr(cpu, "mode") : NULL;
    const char *model = cpu != NULL ? node_get(cpu, "model") : NULL;
    const struct node *hv = node_child(node_child(def, "features"), "hyperv");
    const struct node *kvm = node_child(node_child(def, "features"), "kvm");

    if (mode != NULL && str_eq(mode, "host-passthrough")) {
        strbuf_puts(&b, is_kvm(def) ? "host" : "max");
        if (is_kvm(def)) {
            strbuf_printf(&b, ",migratable=%s",
                          node_attr(cpu, "migratable") ? node_attr(cpu, "migratable") : "on");
        }
    } else if (mode != NULL && (str_eq(mode, "host-model") || str_eq(mode, "maximum"))) {
        strbuf_puts(&b, is_kvm(def) && str_eq(mode, "host-model") ? "host" : "max");
    } else if (model != NULL && *model != '\0') {
        strbuf_puts(&b, model);
    } else {
        strbuf_puts(&b, "qemu64");
    }
    for (const struct node *f = node_child(cpu, "feature"); f != NULL;
         f = node_next(f, "feature")) {
        const char *policy = node_attr(f, "policy");

        strbuf_printf(&b, ",%s=%s", node_attr(f, "name"),
                      str_eq(policy, "disable") || str_eq(policy, "forbid") ? "off" : "on");
    }
    for (const struct node *t = node_child(node_child(def, "clock"), "timer"); t != NULL;
         t = node_next(t, "timer")) {
        if (node_is(t, "@name", "kvmclock") && node_attr(t, "present") != NULL) {
            strbuf_printf(&b, ",kvmclock=%s", node_is(t, "@present", "yes") ? "on" : "off");
        }
        if (node_is(t, "@name", "hypervclock") && node_is(t, "@present", "yes") && is_kvm(def)) {
            strbuf_puts(&b, ",hv-time=on");
        }
    }
    if (hv != NULL && is_kvm(def)) {
        for (const struct node *f = hv->first; f != NULL; f = f->next) {
            if (!node_is(f, "@state", "on")) {
                continue;
            }
            if (str_eq(f->name, "spinlocks")) {
                strbuf_printf(&b, ",hv-spinlocks=0x%llx",
                              (unsigned long long)node_get_u64(f, "@retries", 4095));
            } else if (str_eq(f->name, "vendor_id")) {
                strbuf_printf(&b, ",hv-vendor-id=%s", node_attr(f, "value"));
            } else {
                strbuf_printf(&b, ",hv-%s=on", f->name);
            }
        }
    }
    if (node_is(kvm, "hidden/@state", "on")) {
        strbuf_puts(&b, ",kvm=off");
    }
    if (node_is(def, "features/pmu/@state", "off")) {
        strbuf_puts(&b, ",pmu=off");
    }
    {
        AUTO_FREE char *s = strbuf_take(&b);

        cmdline_arg(c, "-cpu");
        cmdline_arg(c, s != NULL ? s : "qemu64");
    }
}

static struct json_object *memory_object(const struct node *def, const char *id, uint64_t kib)
{
    struct json_object *o = json_object_new_object();
    const char *source = node_get(def, "memoryBacking/source/@type");
    bool shared = node_is(def, "memoryBacking/access/@mode", "shared");
    bool huge = node_child(node_child(def, "memoryBacking"), "hugepages") != NULL;

    if (o == NULL) {
        return NULL;
    }
    if (source != NULL && str_eq(source, "file")) {
        (void)json_add_str(o, "qom-type", "memory-backend-file");
        (void)json_add_str(o, "id", id);
        (void)json_add_str(o, "mem-path", "/dev/shm");
    } else {
        (void)json_add_str(o, "qom-type",
                           (source != NULL && str_eq(source, "memfd")) || shared
                               ? "memory-backend-memfd"
                               : "memory-backend-ram");
        (void)json_add_str(o, "id", id);
        if (huge && (shared || (source != NULL && str_eq(source, "memfd")))) {
            (void)json_add_bool(o, "hugetlb", true);
        }
    }
    if (shared) {
        (void)json_add_bool(o, "share", true);
    }
    if (node_is(def, "memoryBacking/allocation/@mode", "immediate")) {
        (void)json_add_bool(o, "prealloc", true);
    }
    (void)json_add_u64(o, "size", kib * 1024);
    return o;
}

static void memory(struct cmdline *c)
{
    const struct node *def = c->def, *numa = node_child(node_child(def, "cpu"), "numa");
    uint64_t kib = node_get_u64(def, "memory", 0);
    uint64_t max = node_get_u64(def, "maxMemory", 0);

    for (const struct node *m = node_child(domain_devices(def), "memory"); m != NULL;
         m = node_next(m, "memory")) {
        if (node_is(m, "@model", "dimm")) {
            kib -= node_get_u64(m, "target/size", 0);
        }
    }
    /* Memory comes in whole MiB. */
    kib = (kib + 1023) / 1024 * 1024;
    cmdline_arg(c, "-m");
    if (max > 0) {
        cmdline_argf(c, "size=%lluk,slots=%llu,maxmem=%lluk", (unsigned long long)kib,
                     (unsigned long long)node_get_u64(def, "maxMemory/@slots", 16),
                     (unsigned long long)max);
    } else {
        cmdline_argf(c, "%llu", (unsigned long long)kib / 1024);
    }
    if (numa == NULL) {
        cmdline_json(c, "-object", memory_object(def, "pc.ram", kib));
    }
    cmdline_arg(c, "-overcommit");
    cmdline_argf(c, "mem-lock=%s",
                 node_child(node_child(def, "memoryBacking"), "locked") != NULL ? "on" : "off");
}

static void smp(struct cmdline *c)
{
    const struct node *def = c->def, *t = node_child(node_child(def, "cpu"), "topology");
    unsigned long long max = node_get_u64(def, "vcpu", 1);
    unsigned long long cur = node_get_u64(def, "vcpu/@current", max);
    struct strbuf b = STRBUF_INIT(256);
    AUTO_FREE char *s = NULL;

    strbuf_printf(&b, "%llu", cur);
    if (cur != max) {
        strbuf_printf(&b, ",maxcpus=%llu", max);
    }
    if (t != NULL) {
        strbuf_printf(&b, ",sockets=%s,dies=%s,cores=%s,threads=%s", node_attr(t, "sockets"),
                      node_attr(t, "dies"), node_attr(t, "cores"), node_attr(t, "threads"));
    } else {
        strbuf_printf(&b, ",sockets=%llu,cores=1,threads=1", max);
    }
    s = strbuf_take(&b);
    cmdline_arg(c, "-smp");
    cmdline_arg(c, s != NULL ? s : "1");
}

static void numa(struct cmdline *c)
{
    const struct node *n = node_child(node_child(c->def, "cpu"), "numa");
    unsigned id = 0;

    for (const struct node *cell = node_child(n, "cell"); cell != NULL;
         cell = node_next(cell, "cell"), id++) {
        AUTO_FREE char *mem = str_format("ram-node%u", id);
        uint64_t scale = 1024;
        struct strbuf b = STRBUF_INIT(4096);
        AUTO_FREE char *cpus = NULL;
        AUTO_FREE char *list = node_attr(cell, "cpus") ? strdup(node_attr(cell, "cpus")) : NULL;

        (void)unit_scale(node_attr(cell, "unit") ? node_attr(cell, "unit") : "KiB", &scale);
        if (mem != NULL) {
            cmdline_json(
                c, "-object",
                memory_object(c->def, mem, node_get_u64(cell, "@memory", 0) * scale / 1024));
        }
        for (char *p = list; p != NULL && *p != '\0';) {
            size_t len = strcspn(p, ",");
            bool more = p[len] == ',';

            p[len] = '\0';
            strbuf_printf(&b, ",cpus=%s", p);
            p += len + (more ? 1 : 0);
        }
        cpus = strbuf_take(&b);
        cmdline_arg(c, "-numa");
        cmdline_argf(c, "node,nodeid=%u%s,memdev=%s", id, cpus != NULL ? cpus : "",
                     mem != NULL ? mem : "");
    }
}

static void monitor(struct cmdline *c)
{
    cmdline_arg(c, "-no-user-config");
    cmdline_arg(c, "-nodefaults");
    cmdline_arg(c, "-chardev");
    if (c->dry) {
        cmdline_argf(c, "socket,id=charmonitor,path=%s/monitor.sock,server=on,wait=off",
                     c->lib_dir);
    } else {
        cmdline_argf(c, "socket,id=charmonitor,fd=%d,server=on,wait=off", c->monitor_fd);
    }
    cmdline_arg(c, "-mon");
    cmdline_arg(c, "chardev=charmonitor,id=monitor,mode=control");
}

static void clock_args(struct cmdline *c)
{
    const struct node *k = node_child(c->def, "clock");
    const char *offset = node_get(k, "@offset");
    struct strbuf b = STRBUF_INIT(256);
    AUTO_FREE char *s = NULL;

    if (offset != NULL && str_eq(offset, "localtime")) {
        strbuf_puts(&b, "base=localtime");
    } else if (offset != NULL && str_eq(offset, "absolute")) {
        strbuf_printf(&b, "base=%llu", (unsigned long long)node_get_u64(k, "@start", 0));
    } else if (offset != NULL && str_eq(offset, "variable")) {
        int64_t adjust = 0;
        time_t now = time(NULL);
        struct tm tm;
        char text[32];

        if (node_attr(k, "adjustment") != NULL) {
            (void)!str_to_i64(node_attr(k, "adjustment"), 10, &adjust);
        }
        now += adjust;
        if (node_is(k, "@basis", "localtime")) {
            localtime_r(&now, &tm);
        } else {
            gmtime_r(&now, &tm);
        }
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
        strbuf_printf(&b, "base=%s", text);
    } else {
        strbuf_puts(&b, "base=utc");
    }
    for (const struct node *t = node_child(k, "timer"); t != NULL; t = node_next(t, "timer")) {
        if (node_is(t, "@name", "rtc")) {
            if (node_attr(t, "track") != NULL) {
                strbuf_printf(&b, ",clock=%s",
                              node_is(t, "@track", "guest")  ? "vm"
                              : node_is(t, "@track", "wall") ? "host"
                                                             : "rt");
            }
            if (node_is(t, "@tickpolicy", "catchup")) {
                strbuf_puts(&b, ",driftfix=slew");
            }
        }
    }
    s = strbuf_take(&b);
    cmdline_arg(c, "-rtc");
    cmdline_arg(c, s != NULL ? s : "base=utc");
    for (const struct node *t = node_child(k, "timer"); t != NULL; t = node_next(t, "timer")) {
        if (node_is(t, "@name", "pit") && node_is(t, "@tickpolicy", "delay") &&
            emulator_has_type(c->emulator, "kvm-pit")) {
            cmdline_arg(c, "-global");
            cmdline_arg(c, "kvm-pit.lost_tick_policy=delay");
        }
        if (node_is(t, "@name", "hpet") && node_is(t, "@present", "no")) {
            cmdline_arg(c, "-no-hpet");
        }
    }
}

static void boot(struct cmdline *c)
{
    const struct node *os = node_child(c->def, "os");
    struct strbuf b = STRBUF_INIT(256);
    AUTO_FREE char *s = NULL;
    char order[8];
    size_t n = 0;

    for (const struct node *d = node_child(os, "boot"); d != NULL; d = node_next(d, "boot")) {
        const char *dev = node_attr(d, "dev");

        if (n < sizeof(order) - 1 && dev != NULL) {
            order[n++] = str_eq(dev, "fd")      ? 'a'
                         : str_eq(dev, "hd")    ? 'c'
                         : str_eq(dev, "cdrom") ? 'd'
                                                : 'n';
        }
    }
    order[n] = '\0';
    if (node_is(os, "bootmenu/@enable", "yes")) {
        strbuf_puts(&b, "menu=on,");
        if (node_get(os, "bootmenu/@timeout") != NULL) {
            strbuf_printf(&b, "splash-time=%s,", node_get(os, "bootmenu/@timeout"));
        }
    }
    if (node_get(os, "bios/@rebootTimeout") != NULL) {
        strbuf_printf(&b, "reboot-timeout=%s,", node_get(os, "bios/@rebootTimeout"));
    }
    strbuf_puts(&b, "strict=on");
    s = strbuf_take(&b);
    cmdline_arg(c, "-boot");
    cmdline_arg(c, s != NULL ? s : "strict=on");
    if (node_get(os, "kernel") != NULL) {
        cmdline_arg(c, "-kernel");
        cmdline_arg(c, node_get(os, "kernel"));
    }
    if (node_get(os, "initrd") != NULL) {
        cmdline_arg(c, "-initrd");
        cmdline_arg(c, node_get(os, "initrd"));
    }
    if (node_get(os, "cmdline") != NULL) {
        cmdline_arg(c, "-append");
        cmdline_arg(c, node_get(os, "cmdline"));
    }
    if (node_get(os, "dtb") != NULL) {
        cmdline_arg(c, "-dtb");
        cmdline_arg(c, node_get(os, "dtb"));
    }
}

static void smbios(struct cmdline *c)
{
    static const struct {
        const char *block;
        int type;
    } blocks[] = { { "bios", 0 }, { "system", 1 }, { "baseBoard", 2 }, { "chassis", 3 } };
    const struct node *s = node_child(c->def, "sysinfo");

    if (!node_is(c->def, "os/smbios/@mode", "sysinfo")) {
        return;
    }
    for (; s != NULL; s = node_next(s, "sysinfo")) {
        if (!node_is(s, "@type", "smbios")) {
            continue;
        }
        for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
            struct strbuf b = STRBUF_INIT(8192);
            AUTO_FREE char *text = NULL;

            if (node_child(s, blocks[i].block) == NULL) {
                continue;
            }
            strbuf_printf(&b, "type=%d", blocks[i].type);
            for (const struct node *e = node_child(node_child(s, blocks[i].block), "entry");
                 e != NULL; e = node_next(e, "entry")) {
                AUTO_FREE char *v = keyval_escape(e->text != NULL ? e->text : "");

                strbuf_printf(&b, ",%s=%s", node_attr(e, "name"), v != NULL ? v : "");
            }
            text = strbuf_take(&b);
            cmdline_arg(c, "-smbios");
            cmdline_arg(c, text != NULL ? text : "type=1");
        }
        {
            const struct node *oem = node_child(s, "oemStrings");

            for (const struct node *e = node_child(oem, "entry"); e != NULL;
                 e = node_next(e, "entry")) {
                AUTO_FREE char *v = keyval_escape(e->text != NULL ? e->text : "");

                cmdline_arg(c, "-smbios");
                cmdline_argf(c, "type=11,value=%s", v != NULL ? v : "");
            }
        }
    }
}

static void firmware(struct cmdline *c)
{
    const struct node *os = node_child(c->def, "os"), *loader = node_child(os, "loader");

    if (loader == NULL || loader->text == NULL) {
        return;
    }
    if (!node_is(loader, "@type", "pflash")) {
        cmdline_arg(c, "-bios");
        cmdline_arg(c, loader->text);
        return;
    }
    for (int i = 0; i < 2; i++) {
        struct json_object *f = json_object_new_object(), *b = json_object_new_object();
        AUTO_FREE char *storage = str_format("libvirt-pflash%d-storage", i);
        AUTO_FREE char *format = str_format("libvirt-pflash%d-format", i);
        const char *path = i == 0 ? loader->text : node_get(os, "nvram");

        if (path == NULL || *path == '\0' || storage == NULL || format == NULL) {
            json_object_put(f);
            json_object_put(b);
            continue;
        }
        (void)json_add_str(f, "driver", "file");
        (void)json_add_str(f, "filename", path);
        (void)json_add_str(f, "node-name", storage);
        (void)json_add_bool(f, "auto-read-only", true);
        (void)json_add_str(f, "discard", "unmap");
        (void)json_add_str(b, "node-name", format);
        (void)json_add_bool(b, "read-only", i == 0);
        (void)json_add_str(b, "driver",
                           i == 1 && node_is(os, "nvram/@format", "qcow2") ? "qcow2" : "raw");
        (void)json_add_str(b, "file", storage);
        cmdline_json(c, "-blockdev", f);
        cmdline_json(c, "-blockdev", b);
    }
}

static void user_args(struct cmdline *c)
{
    const struct node *q = node_child(c->def, "qemu:commandline");

    for (const struct node *a = node_child(q, "qemu:arg"); a != NULL;
         a = node_next(a, "qemu:arg")) {
        if (node_attr(a, "value") != NULL) {
            cmdline_arg(c, node_attr(a, "value"));
        }
    }
    for (const struct node *e = node_child(q, "qemu:env"); e != NULL;
         e = node_next(e, "qemu:env")) {
        char **env = realloc(c->env, (c->n_env + 2) * sizeof(*env));

        if (env == NULL || node_attr(e, "name") == NULL) {
            c->failed |= env == NULL;
            continue;
        }
        c->env = env;
        env[c->n_env] = str_format("%s=%s", node_attr(e, "name"),
                                   node_attr(e, "value") ? node_attr(e, "value") : "");
        if (env[c->n_env] != NULL) {
            c->n_env++;
        }
        env[c->n_env] = NULL;
    }
}

static int devices(struct cmdline *c, struct err **err)
{
    static const char *const order[] = { "serial",     "parallel", "channel", "console",
                                         "smartcard",  "tpm",      "input",   "audio",
                                         "graphics",   "sound",    "video",   "filesystem",
                                         "hostdev",    "redirdev", "hub",     "watchdog",
                                         "memballoon", "rng",      "panic",   "vsock",
                                         "shmem",      "memory",   "iommu",   "crypto" };
    struct node *all = domain_devices(c->def);

    for (const struct node *d = node_child(all, "controller"); d != NULL;
         d = node_next(d, "controller")) {
        struct json_object *o = controller_device(c, d);

        if (o != NULL) {
            cmdline_json(c, "-device", o);
        }
    }
    for (struct node *d = node_child(all, "disk"); d != NULL; d = node_next(d, "disk")) {
        AUTO_JSON struct json_object *nodes = json_object_new_array();
        struct json_object *o;
        int r = disk_blockdevs(c, d, nodes, err);

        if (r < 0) {
            return r;
        }
        for (size_t i = 0; i < json_object_array_length(nodes); i++) {
            cmdline_json(c, "-blockdev", json_object_get(json_object_array_get_idx(nodes, i)));
        }
        o = disk_device(c, d);
        if (o != NULL) {
            cmdline_json(c, "-device", o);
        }
    }
    for (struct node *d = node_child(all, "interface"); d != NULL; d = node_next(d, "interface")) {
        int fd = -1;
        struct json_object *backend;

        if (node_is(d, "@type", "hostdev")) {
            continue;
        }
        backend = nic_backend(c, d, &fd, err);
        if (backend == NULL) {
            return err != NULL && *err != NULL ? -(*err)->code : -ENOMEM;
        }
        if (fd >= 0) {
            char text[16];

            (void)snprintf(text, sizeof(text), "%d", cmdline_fd(c, fd));
            (void)json_add_str(backend, "fd", text);
        }
        cmdline_json(c, "-netdev", backend);
        cmdline_json(c, "-device", nic_device(c, d));
    }
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        for (struct node *d = node_child(all, order[i]); d != NULL; d = node_next(d, order[i])) {
            int r = i < 4 ? chardev_args(c, d, err) : misc_args(c, d, err);

            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

int cmdline_build(struct cmdline *c, struct err **err)
{
    const struct node *def = c->def, *pm = node_child(def, "pm");
    const char *chip = domain_is_q35(def) ? "ICH9-LPC" : "PIIX4_PM";
    AUTO_FREE char *name = keyval_escape(node_get(def, "name"));
    int r;

    cmdline_arg(c, c->emulator->path);
    cmdline_arg(c, "-name");
    cmdline_argf(c, "guest=%s,debug-threads=on", name != NULL ? name : "");
    cmdline_arg(c, "-S");
    machine(c);
    firmware(c);
    cpu(c);
    memory(c);
    smp(c);
    numa(c);
    if (node_get_u64(def, "iothreads", 0) > 0) {
        unsigned long long n = node_get_u64(def, "iothreads", 0);

        for (unsigned long long i = 1; i <= n && i <= 64; i++) {
            struct json_object *o = json_object_new_object();
            AUTO_FREE char *id = str_format("iothread%llu", i);

            (void)json_add_str(o, "qom-type", "iothread");
            (void)json_add_str(o, "id", id != NULL ? id : "");
            cmdline_json(c, "-object", o);
        }
    }
    cmdline_arg(c, "-uuid");
    cmdline_arg(c, node_get(def, "uuid"));
    if (node_child(domain_devices(def), "graphics") == NULL) {
        cmdline_arg(c, "-display");
        cmdline_arg(c, "none");
    }
    smbios(c);
    monitor(c);
    clock_args(c);
    cmdline_arg(c, "-no-shutdown");
    if (node_is(pm, "suspend-to-mem/@enabled", "no")) {
        cmdline_arg(c, "-global");
        cmdline_argf(c, "%s.disable_s3=1", chip);
    } else if (node_is(pm, "suspend-to-mem/@enabled", "yes")) {
        cmdline_arg(c, "-global");
        cmdline_argf(c, "%s.disable_s3=0", chip);
    }
    if (node_get(pm, "suspend-to-disk/@enabled") != NULL) {
        cmdline_arg(c, "-global");
        cmdline_argf(c, "%s.disable_s4=%d", chip, node_is(pm, "suspend-to-disk/@enabled", "no"));
    }
    boot(c);
    r = devices(c, err);
    if (r < 0) {
        return r;
    }
    if (c->incoming != NULL) {
        cmdline_arg(c, "-incoming");
        cmdline_arg(c, c->incoming);
    }
    if (c->loadvm != NULL) {
        cmdline_arg(c, "-loadvm");
        cmdline_arg(c, c->loadvm);
    }
    cmdline_arg(c, "-sandbox");
    cmdline_arg(c, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    user_args(c);
    cmdline_arg(c, "-msg");
    cmdline_arg(c, "timestamp=on");
    return c->failed ? -ENOMEM : 0;
}
