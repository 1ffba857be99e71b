/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/caps.h"

#include "base/str.h"
#include "mgmt/driver/qemu/probe.h"
#include "mgmt/host/cpu.h"
#include "mgmt/host/topology.h"
#include "mgmt/model/node.h"
#include "mgmt/model/units.h"
#include "mgmt/object/world.h"
#include "os/path.h"
#include "rpc/fault.h"

#include <errno.h>
#include <stdio.h>

enum { XML_BYTES_MAX = 4 << 20 };

static char *configured;

void caps_set_emulator(const char *path)
{
    free(configured);
    configured = path != NULL ? strdup(path) : NULL;
}

/* Looked up once; a program that is installed later is found by the next daemon. */
const char *caps_default_emulator(const char *arch)
{
    static char *x86, *i386;
    char **at = arch != NULL && str_eq(arch, "i686") ? &i386 : &x86;

    if (configured != NULL) {
        return configured;
    }
    if (*at == NULL) {
        const char *debian =
            at == &i386 ? "/usr/bin/qemu-system-i386" : "/usr/bin/qemu-system-x86_64";

        *at = path_exists(debian) ? strdup(debian)
                                  : (at == &x86 ? path_find_program("vireo-system-x86_64") : NULL);
    }
    return *at;
}

static void machines(struct strbuf *b, const struct emulator *e)
{
    struct json_object *list = json_member(e->facts, "machines");
    size_t n = list != NULL ? json_object_array_length(list) : 0;

    /* The default first, as libvirt's users expect. */
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++) {
            struct json_object *m = json_object_array_get_idx(list, i);
            const char *name, *alias = NULL;
            int64_t cpus = 0;
            bool dflt = false;

            if (json_get_str(m, "name", &name, NULL) < 0 || str_eq(name, "none")) {
                continue;
            }
            dflt = json_bool_or(m, "is-default", dflt);
            alias = json_str_or(m, "alias", alias);
            cpus = json_i64_or(m, "cpu-max", cpus);
            if ((pass == 0) != dflt) {
                continue;
            }
            strbuf_printf(b, "      <machine maxCpus='%lld'>%s</machine>\n", (long long)cpus, name);
            if (alias != NULL) {
                strbuf_printf(b, "      <machine canonical='%s' maxCpus='%lld'>%s</machine>\n",
                              name, (long long)cpus, alias);
            }
        }
    }
}

static void guest(struct strbuf *b, struct world *w, const char *arch, const char *path)
{
    const struct emulator *e = path != NULL ? emulator_get(w, path, NULL) : NULL;

    if (e == NULL) {
        return;
    }
    strbuf_printf(b,
                  "  <guest>\n"
                  "    <os_type>hvm</os_type>\n"
                  "    <arch name='%s'>\n"
                  "      <wordsize>%d</wordsize>\n"
                  "      <emulator>%s</emulator>\n",
                  arch, str_eq(arch, "i686") ? 32 : 64, path);
    machines(b, e);
    strbuf_puts(b, "      <domain type='qemu'/>\n      <domain type='kvm'/>\n    </arch>\n"
                   "    <features>\n");
    if (str_eq(arch, "i686")) {
        strbuf_puts(b, "      <pae/>\n      <nonpae/>\n");
    }
    strbuf_puts(b, "      <acpi default='on' toggle='yes'/>\n"
                   "      <apic default='on' toggle='no'/>\n"
                   "      <cpuselection/>\n"
                   "      <deviceboot/>\n"
                   "      <disksnapshot default='on' toggle='no'/>\n"
                   "    </features>\n"
                   "  </guest>\n\n");
}

char *caps_host(struct world *w, struct err **err)
{
    struct strbuf b = STRBUF_INIT(XML_BYTES_MAX);
    char uuid[UUID_TEXT_BYTES];

    (void)err;
    uuid_format(w->host_uuid, uuid);
    strbuf_printf(&b, "<capabilities>\n\n  <host>\n    <uuid>%s</uuid>\n", uuid);
    host_cpu_xml(&b, 4);
    strbuf_puts(&b, "    <power_management/>\n"
                    "    <iommu support='no'/>\n"
                    "    <migration_features>\n"
                    "      <live/>\n"
                    "      <uri_transports>\n"
                    "        <uri_transport>tcp</uri_transport>\n"
                    "        <uri_transport>rdma</uri_transport>\n"
                    "      </uri_transports>\n"
                    "    </migration_features>\n");
    host_topology_xml(&b, 4);
    strbuf_puts(&b, "    <secmodel>\n"
                    "      <model>none</model>\n"
                    "      <doi>0</doi>\n"
                    "    </secmodel>\n"
                    "  </host>\n\n");
    guest(&b, w, "i686",
          path_exists("/usr/bin/qemu-system-i386") ? "/usr/bin/qemu-system-i386" : NULL);
    guest(&b, w, "x86_64", caps_default_emulator("x86_64"));
    strbuf_puts(&b, "</capabilities>\n");
    return strbuf_take(&b);
}

static void values(struct strbuf *b, const char *indent, const char *name, const char *const *list)
{
    strbuf_printf(b, "%s<enum name='%s'>\n", indent, name);
    for (; *list != NULL; list++) {
        strbuf_printf(b, "%s  <value>%s</value>\n", indent, *list);
    }
    strbuf_printf(b, "%s</enum>\n", indent);
}

#define VALUES(indent, name, ...) \
    values(b, indent, name, (const char *const[]) { __VA_ARGS__, NULL })

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Models by name; usable ones can run on this host. */
static void cpu_models(struct strbuf *b, const struct emulator *e)
{
    struct json_object *list = json_member(e->facts, "cpus");
    size_t n = list != NULL ? json_object_array_length(list) : 0, k = 0;
    AUTO_FREE const char **names = calloc(n + 1, sizeof(*names));

    for (size_t i = 0; names != NULL && i < n; i++) {
        const char *name;

        if (json_get_str(json_object_array_get_idx(list, i), "name", &name, NULL) == 0 &&
            strstr(name, "-v") == NULL && !str_eq(name, "base") && !str_eq(name, "max") &&
            !str_eq(name, "host")) {
            names[k++] = name;
        }
    }
    if (k > 0) {
        qsort(names, k, sizeof(*names), by_name);
    }
    for (size_t i = 0; i < k; i++) {
        bool usable = true;

        for (size_t j = 0; j < n; j++) {
            struct json_object *c = json_object_array_get_idx(list, j), *missing;
            const char *name;

            if (json_get_str(c, "name", &name, NULL) == 0 && str_eq(name, names[i])) {
                missing = json_member(c, "unavailable-features");
                usable = missing == NULL || json_object_array_length(missing) == 0;
            }
        }
        strbuf_printf(b, "      <model usable='%s' vendor='%s'>%s</model>\n", usable ? "yes" : "no",
                      host_cpu_model_vendor(names[i]), names[i]);
    }
}

static void cpu(struct strbuf *b, const struct emulator *e, bool kvm)
{
    strbuf_puts(b, "  <cpu>\n");
    if (kvm) {
        strbuf_puts(b, "    <mode name='host-passthrough' supported='yes'>\n");
        VALUES("      ", "hostPassthroughMigratable", "on", "off");
        strbuf_puts(b, "    </mode>\n");
    } else {
        strbuf_puts(b, "    <mode name='host-passthrough' supported='no'/>\n");
    }
    strbuf_puts(b, "    <mode name='maximum' supported='yes'>\n");
    VALUES("      ", "maximumMigratable", "on", "off");
    strbuf_puts(b, "    </mode>\n    <mode name='host-model' supported='yes'>\n");
    host_cpu_model_xml(b, 6);
    strbuf_puts(b, "    </mode>\n    <mode name='custom' supported='yes'>\n");
    cpu_models(b, e);
    strbuf_puts(b, "    </mode>\n  </cpu>\n");
}

static void devices(struct strbuf *b, const struct emulator *e, bool q35)
{
    bool spice = emulator_has_type(e, "chardev-spicevmc");

    strbuf_puts(b, "  <devices>\n    <disk supported='yes'>\n");
    VALUES("      ", "diskDevice", "disk", "cdrom", "floppy", "lun");
    if (q35) {
        VALUES("      ", "bus", "fdc", "scsi", "virtio", "usb", "sata");
    } else {
        VALUES("      ", "bus", "ide", "fdc", "scsi", "virtio", "usb", "sata");
    }
    VALUES("      ", "model", "virtio", "virtio-transitional", "virtio-non-transitional");
    strbuf_puts(b, "    </disk>\n    <graphics supported='yes'>\n");
    if (spice) {
        VALUES("      ", "type", "sdl", "vnc", "spice", "egl-headless");
    } else {
        VALUES("      ", "type", "sdl", "vnc", "egl-headless");
    }
    strbuf_puts(b, "    </graphics>\n    <video supported='yes'>\n");
    VALUES("      ", "modelType", "vga", "cirrus", "vmvga", "qxl", "virtio", "none", "bochs",
           "ramfb");
    strbuf_puts(b, "    </video>\n    <hostdev supported='yes'>\n");
    VALUES("      ", "mode", "subsystem");
    VALUES("      ", "startupPolicy", "default", "mandatory", "requisite", "optional");
    VALUES("      ", "subsysType", "usb", "pci", "scsi");
    strbuf_puts(b,
                "      <enum name='capsType'/>\n      <enum name='pciBackend'/>\n    </hostdev>\n"
                "    <rng supported='yes'>\n");
    VALUES("      ", "model", "virtio", "virtio-transitional", "virtio-non-transitional");
    VALUES("      ", "backendModel", "random", "egd", "builtin");
    strbuf_puts(b, "    </rng>\n    <filesystem supported='yes'>\n");
    VALUES("      ", "driverType", "path", "handle", "virtiofs");
    strbuf_puts(b, "    </filesystem>\n    <tpm supported='yes'>\n");
    VALUES("      ", "model", "tpm-tis", "tpm-crb");
    VALUES("      ", "backendModel", "passthrough", "emulator", "external");
    VALUES("      ", "backendVersion", "1.2", "2.0");
    strbuf_puts(b, "    </tpm>\n    <redirdev supported='yes'>\n");
    VALUES("      ", "bus", "usb");
    strbuf_puts(b, "    </redirdev>\n    <channel supported='yes'>\n");
    if (spice) {
        VALUES("      ", "type", "pty", "unix", "spicevmc");
    } else {
        VALUES("      ", "type", "pty", "unix");
    }
    strbuf_puts(b, "    </channel>\n    <crypto supported='yes'>\n");
    VALUES("      ", "model", "virtio");
    VALUES("      ", "type", "qemu");
    VALUES("      ", "backendModel", "builtin", "lkcf");
    strbuf_puts(b, "    </crypto>\n  </devices>\n");
}

char *caps_domain(struct world *w, const char *path, const char *arch, const char *machine,
                  const char *type, struct err **err)
{
    struct strbuf buf = STRBUF_INIT(XML_BYTES_MAX), *b = &buf;
    const struct emulator *e;
    const char *full;
    bool kvm, q35;

    if (arch == NULL) {
        arch = "x86_64";
    }
    if (type != NULL && !str_eq(type, "kvm") && !str_eq(type, "qemu")) {
        (void)fault(err, DOM_QEMU, INVALID_ARG,
                    "the accel '%s' is not supported by '%s' on this host", type,
                    path != NULL ? path : arch);
        return NULL;
    }
    if (path == NULL) {
        path = caps_default_emulator(arch);
    }
    if (path == NULL || (!str_eq(arch, "x86_64") && !str_eq(arch, "i686"))) {
        (void)fault(err, DOM_QEMU, INVALID_ARG,
                    "unable to find any emulator to serve '%s' architecture", arch);
        return NULL;
    }
    e = emulator_get(w, path, err);
    if (e == NULL) {
        return NULL;
    }
    full = machine != NULL ? emulator_machine(e, machine) : emulator_default_machine(e);
    if (full == NULL) {
        (void)fault(err, DOM_QEMU, INVALID_ARG,
                    "the machine '%s' is not supported by emulator '%s'", machine, path);
        return NULL;
    }
    kvm = type == NULL || str_eq(type, "kvm");
    q35 = str_starts(full, "pc-q35");
    strbuf_printf(b,
                  "<domainCapabilities>\n  <path>%s</path>\n  <domain>%s</domain>\n"
                  "  <machine>%s</machine>\n  <arch>%s</arch>\n  <vcpu max='%d'/>\n"
                  "  <iothreads supported='yes'/>\n  <os supported='yes'>\n",
                  path, kvm ? "kvm" : "qemu", full, arch, q35 ? 288 : 255);
    if (path_exists("/usr/share/OVMF/OVMF_CODE.fd")) {
        VALUES("    ", "firmware", "efi");
    } else {
        strbuf_puts(b, "    <enum name='firmware'/>\n");
    }
    strbuf_puts(b, "    <loader supported='yes'>\n");
    for (const char *const *f = (const char *const[]) { "/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
                                                        "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
                                                        "/usr/share/OVMF/OVMF_CODE_4M.fd", NULL };
         *f != NULL; f++) {
        if (path_exists(*f)) {
            strbuf_printf(b, "      <value>%s</value>\n", *f);
        }
    }
    VALUES("      ", "type", "rom", "pflash");
    VALUES("      ", "readonly", "yes", "no");
    VALUES("      ", "secure", "no");
    strbuf_puts(b, "    </loader>\n  </os>\n");
    cpu(b, e, kvm);
    strbuf_puts(b, "  <memoryBacking supported='yes'>\n");
    VALUES("    ", "sourceType", "file", "anonymous", "memfd");
    strbuf_puts(b, "  </memoryBacking>\n");
    devices(b, e, q35);
    strbuf_puts(
        b, "  <features>\n    <gic supported='no'/>\n    <vmcoreinfo supported='yes'/>\n"
           "    <genid supported='yes'/>\n    <backingStoreInput supported='yes'/>\n"
           "    <backup supported='yes'/>\n    <sev supported='no'/>\n    <sgx supported='no'/>\n");
    if (kvm) {
        strbuf_puts(b, "    <hyperv supported='yes'>\n");
        VALUES("      ", "features", "relaxed", "vapic", "spinlocks", "vpindex", "runtime", "synic",
               "stimer", "reset", "vendor_id", "frequencies", "reenlightenment", "tlbflush", "ipi");
        strbuf_puts(b, "    </hyperv>\n");
    }
    strbuf_puts(b, "  </features>\n</domainCapabilities>\n");
    return strbuf_take(b);
}
