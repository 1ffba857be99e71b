/* SPDX-License-Identifier: GPL-2.0-or-later */
/* complete.c - the definition's top level, and the order in which the parts are completed. */
#include "mgmt/model/domain/domain.h"

#include "mgmt/model/units.h"
#include "rpc/fault.h"

#include <errno.h>

enum { MEMORY_MIN_KIB = 1, VCPUS_MAX = 4096 };

struct node *domain_devices(const struct node *def)
{
    return node_child(def, "devices");
}

bool domain_is_q35(const struct node *def)
{
    const char *m = node_get(def, "os/type/@machine");

    return m != NULL && (str_starts(m, "pc-q35") || str_eq(m, "q35"));
}

bool domain_is_i440fx(const struct node *def)
{
    const char *m = node_get(def, "os/type/@machine");

    return m != NULL && (str_starts(m, "pc-i440fx") || str_eq(m, "pc") || str_starts(m, "pc-0.") ||
                         str_starts(m, "pc-1."));
}

static int identity(struct node *def, struct err **err)
{
    const char *name = node_get(def, "name"), *uuid = node_get(def, "uuid");
    char text[UUID_TEXT_BYTES];
    uint8_t bytes[16];

    if (name == NULL || *name == '\0') {
        return fault(err, DOM_DOMAIN, NO_NAME, "%s", "");
    }
    if (strchr(name, '/') != NULL) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "name %s cannot contain '/'", name);
    }
    if (name[strspn(name, " \t\n")] == '\0') {
        return fault(err, DOM_DOMAIN, XML_ERROR,
                     "name must contain at least one non-whitespace "
                     "character");
    }
    if (strchr(name, '\n') != NULL) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "name '%s' cannot contain '\\n'", name);
    }
    if (strlen(name) > 200) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "name '%.40s...' is longer than 200 bytes", name);
    }
    if (uuid == NULL) {
        uuid_generate(bytes);
    } else if (uuid_parse(uuid, bytes) < 0) {
        return fault(err, DOM_DOMAIN, INTERNAL_ERROR, "%s", "malformed uuid element");
    }
    uuid_format(bytes, text);
    return node_set(def, "uuid", text);
}

static int memory(struct node *def, struct err **err)
{
    static const char *const names[] = { "memory", "currentMemory", "maxMemory" };
    struct node *m = node_child(def, "memory"), *current;
    uint64_t total, now;

    if (m == NULL) {
        const char *cur = node_get(def, "currentMemory");
        const struct node *numa = node_child(node_child(def, "cpu"), "numa");
        uint64_t sum = 0;

        for (const struct node *c = node_child(numa, "cell"); c != NULL; c = node_next(c, "cell")) {
            uint64_t scale = 1024;

            (void)unit_scale(node_attr(c, "unit") ? node_attr(c, "unit") : "KiB", &scale);
            sum += node_get_u64(c, "@memory", 0) * scale / 1024;
        }
        if (sum == 0) {
            (void)cur;
            return fault(err, DOM_DOMAIN, XML_ERROR, "missing element or attribute '%s'", "memory");
        }
        if (node_setf(def, "memory", "%llu", (unsigned long long)sum) < 0) {
            return -ENOMEM;
        }
    }
    for (size_t i = 0; i < 3; i++) {
        struct node *n = node_child(def, names[i]);

        if (n != NULL) {
            int r = unit_normalize(n, 1024, 1024, "KiB", DOM_DOMAIN, err);

            if (r < 0) {
                return r;
            }
        }
    }
    total = node_get_u64(def, "memory", 0);
    if (total < MEMORY_MIN_KIB) {
        return fault(err, DOM_QEMU, INTERNAL_ERROR,
                     "Memory size must be specified via <memory> or in "
                     "the <numa> configuration");
    }
    current = node_need(def, "currentMemory");
    if (current == NULL) {
        return -ENOMEM;
    }
    now = current->text != NULL ? node_get_u64(def, "currentMemory", 0) : 0;
    if (now == 0 || now > total) {
        now = total;
    }
    return node_setf(def, "currentMemory", "%llu", (unsigned long long)now) < 0 ||
                   node_set(def, "currentMemory/@unit", "KiB") < 0 ||
                   node_set(def, "memory/@unit", "KiB") < 0
               ? -ENOMEM
               : 0;
}

static int vcpus(struct node *def, struct err **err)
{
    struct node *v = node_need(def, "vcpu");
    uint64_t n, cur;

    if (v == NULL) {
        return -ENOMEM;
    }
    if (v->text == NULL && node_set_text(v, "1") < 0) {
        return -ENOMEM;
    }
    n = node_get_u64(def, "vcpu", 0);
    cur = node_get_u64(v, "@current", n);
    if (n == 0 || n > VCPUS_MAX) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "invalid maximum number of vCPUs '%s'", v->text);
    }
    if (cur == 0 || cur > n) {
        return fault(err, DOM_DOMAIN, INTERNAL_ERROR,
                     "maxvcpus must not be less than current vcpus (%llu < %llu)",
                     (unsigned long long)n, (unsigned long long)cur);
    }
    if (cur == n) {
        (void)node_set(v, "@current", NULL);
    }
    if (node_attr(v, "cpuset") != NULL) {
        uint8_t map[128];
        AUTO_FREE char *text = NULL;

        if (cpuset_parse(node_attr(v, "cpuset"), map, sizeof(map)) < 0) {
            return fault(err, DOM_DOMAIN, INVALID_ARG, "Failed to parse bitmap '%s'",
                         node_attr(v, "cpuset"));
        }
        text = cpuset_format(map, sizeof(map));
        if (text == NULL || node_set(v, "@cpuset", text) < 0) {
            return -ENOMEM;
        }
    }
    return node_attr(v, "placement") == NULL ? node_set(v, "@placement", "static") : 0;
}

static int os(struct node *def, const struct domain_facts *f, struct err **err)
{
    struct node *o = node_need(def, "os"), *t;
    const char *type = node_attr(def, "type"), *emulator = node_get(def, "devices/emulator");
    const char *machine, *full = NULL;
    bool per_device = false;

    t = o != NULL ? node_child(o, "type") : NULL;
    if (o == NULL) {
        return -ENOMEM;
    }
    if (t == NULL || t->text == NULL) {
        return fault(err, DOM_DOMAIN, OS_TYPE, "%s", "an os <type> must be specified");
    }
    if (!str_eq(t->text, "hvm") && !(f->plain && str_eq(t->text, "linux"))) {
        return fault(err, DOM_DOMAIN, CONFIG_UNSUPPORTED, "unknown OS type '%s'", t->text);
    }
    if (node_attr(t, "arch") == NULL && node_set(t, "@arch", f->arch) < 0) {
        return -ENOMEM;
    }
    if (!f->plain) {
        if (emulator == NULL) {
            emulator = f->emulator;
        }
        machine = node_attr(t, "machine");
        full = machine != NULL ? f->machine(f->arg, emulator, type, machine)
                               : f->default_machine(f->arg, emulator, type);
        if (machine == NULL && full == NULL) {
            return fault(err, DOM_DOMAIN, CONFIG_UNSUPPORTED,
                         "could not find capabilities for arch=%s domaintype=%s ",
                         node_attr(t, "arch"), type);
        }
        if (full != NULL && node_set(t, "@machine", full) < 0) {
            return -ENOMEM;
        }
    }
    for (const struct node *d = domain_devices(def)->first; d != NULL; d = d->next) {
        per_device |= node_child(d, "boot") != NULL;
    }
    if (per_device && node_child(o, "boot") != NULL) {
        return fault(err, DOM_DOMAIN, CONFIG_UNSUPPORTED,
                     "per-device boot elements cannot be used together with os/boot elements");
    }
    if (!per_device && node_child(o, "boot") == NULL && str_eq(t->text, "hvm") &&
        node_child(o, "init") == NULL && node_set(o, "boot/@dev", "hd") < 0) {
        return -ENOMEM;
    }
    return 0;
}

/* The first console and the first serial port are one device. */
static int console_mirror(struct node *def)
{
    struct node *devices = domain_devices(def);
    struct node *serial = node_child(devices, "serial"), *console = node_child(devices, "console");

    if (serial == NULL && console != NULL &&
        (node_get(console, "target/@type") == NULL || node_is(console, "target/@type", "serial"))) {
        serial = node_add(devices, "serial");
        if (serial == NULL ||
            node_set(serial, "@type",
                     node_attr(console, "type") != NULL ? node_attr(console, "type") : "pty") < 0) {
            return -ENOMEM;
        }
        for (struct node *s = node_child(console, "source"); s != NULL;
             s = node_next(s, "source")) {
            struct node *copy = node_copy(s);

            if (copy == NULL) {
                return -ENOMEM;
            }
            node_insert(serial, copy);
        }
        for (const char *const *n = (const char *const[]) { "protocol", "log", NULL }; *n; n++) {
            struct node *copy = node_child(console, *n) ? node_copy(node_child(console, *n)) : NULL;

            if (copy != NULL) {
                node_insert(serial, copy);
            }
        }
    } else if (serial != NULL && console == NULL &&
               (node_get(serial, "target/@type") == NULL ||
                node_is(serial, "target/@type", "isa-serial"))) {
        console = node_add(devices, "console");
        if (console == NULL ||
            node_set(console, "@type",
                     node_attr(serial, "type") ? node_attr(serial, "type") : "pty") < 0) {
            return -ENOMEM;
        }
        for (struct node *s = node_child(serial, "source"); s != NULL; s = node_next(s, "source")) {
            struct node *copy = node_copy(s);

            if (copy == NULL) {
                return -ENOMEM;
            }
            node_insert(console, copy);
        }
        for (const char *const *n = (const char *const[]) { "protocol", "log", NULL }; *n; n++) {
            struct node *copy = node_child(serial, *n) ? node_copy(node_child(serial, *n)) : NULL;

            if (copy != NULL) {
                node_insert(console, copy);
            }
        }
    }
    return 0;
}

static int implicit_devices(struct node *def, const struct domain_facts *f)
{
    struct node *devices = domain_devices(def);
    bool pc = domain_is_i440fx(def) || domain_is_q35(def);
    bool mouse = false, keyboard = false;
    struct node *n;

    if (node_child(devices, "emulator") == NULL && f->emulator != NULL &&
        node_set(devices, "emulator", f->emulator) < 0) {
        return -ENOMEM;
    }
    if (!pc) {
        return 0;
    }
    for (n = node_child(devices, "input"); n != NULL; n = node_next(n, "input")) {
        mouse |= node_is(n, "@type", "mouse") && node_is(n, "@bus", "ps2");
        keyboard |= node_is(n, "@type", "keyboard") && node_is(n, "@bus", "ps2");
    }
    for (int i = 0; i < 2; i++) {
        if (i == 0 ? mouse : keyboard) {
            continue;
        }
        n = node_add(devices, "input");
        if (n == NULL || node_set(n, "@type", i == 0 ? "mouse" : "keyboard") < 0 ||
            node_set(n, "@bus", "ps2") < 0) {
            return -ENOMEM;
        }
    }
    if (node_child(devices, "graphics") != NULL && node_child(devices, "video") == NULL &&
        node_add(devices, "video") == NULL) {
        return -ENOMEM;
    }
    if (node_child(devices, "audio") == NULL) {
        const char *type = "none";

        for (n = node_child(devices, "graphics"); n != NULL; n = node_next(n, "graphics")) {
            if (node_is(n, "@type", "spice")) {
                type = "spice";
            }
        }
        n = node_add(devices, "audio");
        if (n == NULL || node_set(n, "@id", "1") < 0 || node_set(n, "@type", type) < 0) {
            return -ENOMEM;
        }
    }
    if (node_child(devices, "memballoon") == NULL && node_add(devices, "memballoon") == NULL) {
        return -ENOMEM;
    }
    return 0;
}

int domain_complete_device(struct node *def, struct node *d, const struct domain_facts *f,
                           struct err **err)
{
    static const struct {
        const char *name;
        int (*fn)(struct node *def, struct node *dev, struct err **err);
    } parts[] = { { "disk", disk_complete },         { "interface", interface_complete },
                  { "serial", chardev_complete },    { "parallel", chardev_complete },
                  { "console", chardev_complete },   { "channel", chardev_complete },
                  { "graphics", graphics_complete }, { "video", video_complete } };

    if (node_is(d, "address/@type", "pci") == false && node_child(d, "address") != NULL &&
        node_get(d, "address/@type") == NULL && !str_eq(d->name, "hostdev")) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "Missing required attribute '%s' in element '%s'",
                     "type", "address");
    }
    if (f->plain && !str_eq(d->name, "interface")) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (str_eq(d->name, parts[i].name)) {
            return parts[i].fn(def, d, err);
        }
    }
    return misc_complete(def, d, err);
}

static int unique_targets(const struct node *def, struct err **err)
{
    const struct node *devices = domain_devices(def);

    for (const struct node *a = node_child(devices, "disk"); a != NULL; a = node_next(a, "disk")) {
        for (const struct node *b = node_next(a, "disk"); b != NULL; b = node_next(b, "disk")) {
            if (node_is(a, "target/@dev", node_get(b, "target/@dev"))) {
                return fault(err, DOM_DOMAIN, XML_ERROR,
                             "target '%s' duplicated for disk sources '%s' "
                             "and '%s'",
                             node_get(a, "target/@dev"),
                             node_get(a, "source/@file") ? node_get(a, "source/@file") : "<null>",
                             node_get(b, "source/@file") ? node_get(b, "source/@file") : "<null>");
            }
        }
    }
    return 0;
}

/* Old aliases and other traces of a run; only "ua-" names are the user's. */
static void forget_run(struct node *def)
{
    for (struct node *d = domain_devices(def)->first; d != NULL; d = d->next) {
        const char *a = node_get(d, "alias/@name");

        if (a != NULL && !str_starts(a, "ua-")) {
            node_remove(d, "alias");
        }
        if (str_eq(d->name, "interface")) {
            const char *dev = node_get(d, "target/@dev");

            if (dev != NULL && (str_starts(dev, "vnet") || str_starts(dev, "macvtap"))) {
                (void)node_set(node_child(d, "target"), "@dev", NULL);
                if (node_child(d, "target")->n_attrs == 0) {
                    node_remove(d, "target");
                }
            }
            if (node_is(d, "@type", "network") && node_child(d, "source") != NULL) {
                (void)node_set(d, "source/@portid", NULL);
                (void)node_set(d, "source/@bridge", NULL);
            }
        }
        if ((str_eq(d->name, "serial") || str_eq(d->name, "console") ||
             str_eq(d->name, "channel") || str_eq(d->name, "parallel")) &&
            node_is(d, "@type", "pty")) {
            node_remove(d, "source");
        }
        if (str_eq(d->name, "disk") && node_child(d, "source") != NULL) {
            (void)node_set(d, "source/@index", NULL);
        }
    }
}

static int known_type(const char *type, struct err **err)
{
    static const char *const types[] = { "qemu",   "kvm",       "xen",    "lxc",    "uml",
                                         "openvz", "test",      "vmware", "hyperv", "vbox",
                                         "phyp",   "parallels", "bhyve",  "vz",     "hvf" };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (str_eq(types[i], type)) {
            return 0;
        }
    }
    return fault(err, DOM_DOMAIN, CONFIG_UNSUPPORTED, "invalid domain type %s", type);
}

int domain_complete(struct node *def, const struct domain_facts *f, struct err **err)
{
    static const struct {
        const char *path, *value;
    } dflt[] = { { "clock/@offset", "utc" },
                 { "on_poweroff", "destroy" },
                 { "on_reboot", "restart" },
                 { "on_crash", "destroy" } };
    struct node *devices;
    int r;

    if (node_attr(def, "type") == NULL) {
        return fault(err, DOM_DOMAIN, XML_ERROR, "Missing required attribute '%s' in element '%s'",
                     "type", "domain");
    }
    r = known_type(node_attr(def, "type"), err);
    r = r == 0 ? identity(def, err) : r;
    if (r < 0) {
        return r;
    }
    devices = node_need(def, "devices");
    if (devices == NULL) {
        return -ENOMEM;
    }
    forget_run(def);
    r = memory(def, err);
    r = r == 0 ? vcpus(def, err) : r;
    r = r == 0 ? os(def, f, err) : r;
    for (size_t i = 0; r == 0 && i < sizeof(dflt) / sizeof(dflt[0]); i++) {
        if (node_get(def, dflt[i].path) == NULL) {
            r = node_set(def, dflt[i].path, dflt[i].value);
        }
    }
    if (r == 0 && node_child(node_child(def, "features"), "hyperv") != NULL &&
        node_get(def, "features/hyperv/@mode") == NULL) {
        r = node_set(def, "features/hyperv/@mode", "custom");
    }
    if (r == 0 && node_child(def, "qemu:commandline") != NULL) {
        r = node_set(def, "@xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0");
    }
    if (r == 0 && !f->plain) {
        r = implicit_devices(def, f);
        r = r == 0 ? console_mirror(def) : r;
        r = r == 0 ? cpu_complete(def, f, err) : r;
    }
    for (struct node *d = devices->first; r == 0 && d != NULL; d = d->next) {
        r = domain_complete_device(def, d, f, err);
    }
    r = r == 0 ? unique_targets(def, err) : r;
    if (r == 0 && !f->plain) {
        r = controllers_complete(def, err);
        r = r == 0 ? addresses_assign(def, err) : r;
    }
    return r;
}
