/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hmp.c - commands of the human monitor, by QMP's human-monitor-command. */
#include "vmm/qmp/hmp.h"

#include "base/hash.h"
#include "base/str.h"
#include "block/core/block.h"
#include "block/core/snapshot.h"
#include "codec/keyval.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/char/chardev.h"
#include "vmm/dev/device.h"
#include "vmm/dev/disk/disk.h"
#include "vmm/dev/virtio/balloon.h"
#include "vmm/machine/block.h"
#include "vmm/machine/machine.h"
#include "vmm/net/netdev.h"
#include "vmm/qmp/command.h"
#include "vmm/state/state.h"

#include <errno.h>
#include <string.h>

enum { MAX_ANSWER = 1 << 20 };

struct hmp_command {
    const char *name;
    const char *args, *help;
    int (*fn)(struct machine *m, const char *arg, struct strbuf *out, struct err **err);
};

extern const struct hmp_command hmp_commands[];

static int info_status(struct machine *m, struct strbuf *out)
{
    if (m->state == RUN_RUNNING || m->state == RUN_PAUSED) {
        strbuf_printf(out, "VM status: %s\n", run_state_name(m->state));
    } else {
        strbuf_printf(out, "VM status: paused (%s)\n", run_state_name(m->state));
    }
    return 0;
}

static int info_pci(struct machine *m, struct strbuf *out)
{
    for (unsigned devfn = 0; m->pci_root != NULL && devfn < 256; devfn++) {
        struct pci_dev *pd = m->pci_root->devs[devfn];

        if (pd != NULL) {
            strbuf_printf(
                out,
                "  Bus  0, device %3u, function %u:\n    %s: PCI device %04x:%04x\n"
                "      id \"%s\"\n",
                devfn >> 3, devfn & 7, pd->dev.cls->desc, pci_config_read(pd, PCI_VENDOR_ID, 2),
                pci_config_read(pd, PCI_DEVICE_ID, 2), pd->dev.id != NULL ? pd->dev.id : "");
        }
    }
    return 0;
}

static int info_snapshots(struct machine *m, struct strbuf *out);

static int info_name(struct machine *m, struct strbuf *out)
{
    strbuf_printf(out, "%s\n", m->name != NULL ? m->name : "");
    return 0;
}

static int info_cpus(struct machine *m, struct strbuf *out)
{
    for (unsigned i = 0; i < m->n_vcpus; i++) {
        strbuf_printf(out, "%c CPU #%u: thread_id=%d\n", i == 0 ? '*' : ' ', i,
                      (int)m->vcpus[i].tid);
    }
    return 0;
}

static int info_block(struct machine *m, struct strbuf *out)
{
    LIST_FOREACH (&m->devices, it) {
        struct device *dev = CONTAINER_OF(it, struct device, link);
        const struct disk *d = device_disk(dev);

        if (d == NULL) {
            continue;
        }
        strbuf_printf(out, "%s", d->drive != NULL ? d->drive : dev->cls->name);
        if (d->node != NULL) {
            strbuf_printf(out, " (%s): %s (%s%s)\n", d->node->name != NULL ? d->node->name : "",
                          d->node->filename != NULL ? d->node->filename : "", d->node->drv->name,
                          d->node->read_only ? ", read-only" : "");
        } else {
            strbuf_puts(out, ": [not inserted]\n");
        }
        strbuf_printf(out, "    Attached to:      %s\n", dev->id != NULL ? dev->id : dev->cls->name);
        if (dev->cls->medium_changed != NULL) {
            strbuf_printf(out, "    Removable device: %s, tray %s\n",
                          d->tray_locked ? "locked" : "not locked", d->tray_open ? "open" : "closed");
        }
        strbuf_puts(out, "\n");
    }
    return 0;
}

static int add_chardev(const char *key, void *value, void *arg)
{
    const struct chardev *chr = value;

    strbuf_printf(arg, "%s: filename=%s\n", key,
                  chr->filename != NULL ? chr->filename : chr->cls->name);
    return 0;
}

static int info_chardev(struct machine *m, struct strbuf *out)
{
    return hash_each(m->chardevs, add_chardev, out);
}

static int add_netdev(const char *key, void *value, void *arg)
{
    const struct netdev *nd = value;

    strbuf_printf(arg, "%s: type=%s%s\n", key, nd->cls->name,
                  nd->receive == NULL ? ", no card" : "");
    return 0;
}

static int info_network(struct machine *m, struct strbuf *out)
{
    return hash_each(m->netdevs, add_netdev, out);
}

static int info_balloon(struct machine *m, struct strbuf *out)
{
    uint64_t bytes = 0;

    if (balloon_get(m, &bytes, NULL) == 0) {
        strbuf_printf(out, "balloon: actual=%llu\n", (unsigned long long)(bytes >> 20));
    } else {
        strbuf_puts(out, "Error: No balloon device has been activated\n");
    }
    return 0;
}

static int do_info(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    static const struct {
        const char *name;
        int (*fn)(struct machine *m, struct strbuf *out);
    } infos[] = { { "status", info_status },   { "pci", info_pci },
                { "snapshots", info_snapshots }, { "name", info_name },
                { "cpus", info_cpus },       { "block", info_block },
                { "chardev", info_chardev }, { "network", info_network },
                { "balloon", info_balloon } };

    for (size_t i = 0; i < sizeof(infos) / sizeof(infos[0]); i++) {
        if (str_eq(arg, infos[i].name)) {
            return infos[i].fn(m, out);
        }
    }
    return err_set(err, EINVAL, "unknown command: 'info %s'", arg);
}

static int add_snapshots(const char *key, void *value, void *arg)
{
    struct block_snapshot *list = NULL;
    size_t n = 0;

    (void)key;
    if (block_snapshot_list(value, &list, &n) == 0) {
        for (size_t i = 0; i < n; i++) {
            strbuf_printf(arg, "%-8s %-24s %llu\n", list[i].id, list[i].name,
                          (unsigned long long)list[i].vm_state_size);
        }
    }
    block_snapshots_free(list, n);
    return 0;
}

static int info_snapshots(struct machine *m, struct strbuf *out)
{
    strbuf_puts(out, "ID       TAG                      VM SIZE\n");
    (void)hash_each(m->blocks, add_snapshots, out);
    return 0;
}

static int do_savevm(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    (void)out;
    return state_savevm(m, *arg != '\0' ? arg : "vm", err);
}

static int do_loadvm(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    (void)out;
    return state_loadvm(m, arg, err);
}

static int do_delvm(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    (void)out;
    return state_delvm(m, arg, err);
}

static int do_stop(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    (void)arg;
    (void)out;
    (void)err;
    machine_pause(m, RUN_PAUSED);
    return 0;
}

static int do_cont(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    (void)arg;
    (void)out;
    return machine_run(m, err);
}

static int do_quit(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    (void)arg;
    (void)out;
    (void)err;
    machine_request_shutdown(m, CAUSE_HOST_QMP_QUIT);
    return 0;
}

static int do_reset(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    (void)arg;
    (void)out;
    (void)err;
    machine_request_reset(m, CAUSE_HOST_QMP_SYSTEM_RESET);
    return 0;
}

static int do_powerdown(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    (void)arg;
    (void)out;
    (void)err;
    machine_powerdown(m);
    return 0;
}

/* The QMP command that does it. */
static int by_qmp(struct machine *m, const char *name, struct json_object *args, struct err **err)
{
    AUTO_JSON struct json_object *ret = NULL;
    const char *cls;

    return qmp_dispatch(m, name, args, &ret, &cls, err);
}

static int do_device_add(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    AUTO_JSON struct json_object *args = json_object_new_object();
    int r = keyval_parse(arg, "driver", true, &kv, err);

    (void)out;
    for (size_t i = 0; r == 0 && i < kv->n; i++) {
        r = json_add_str(args, kv->pairs[i].key, kv->pairs[i].value);
    }
    return r == 0 ? by_qmp(m, "device_add", args, err) : r;
}

static int with_one(struct machine *m, const char *command, const char *key, const char *arg,
                    struct err **err)
{
    AUTO_JSON struct json_object *args = json_object_new_object();
    int r = json_add_str(args, key, arg);

    return r == 0 ? by_qmp(m, command, args, err) : r;
}

static int do_device_del(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    (void)out;
    return with_one(m, "device_del", "id", arg, err);
}

static int do_eject(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    (void)out;
    return with_one(m, "eject", "device", arg, err);
}

static int do_screendump(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    (void)out;
    return with_one(m, "screendump", "filename", arg, err);
}

static int do_balloon(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    uint64_t mib;

    (void)out;
    return str_to_u64(arg, 10, &mib) < 0 || mib > UINT32_MAX
               ? err_set(err, EINVAL, "'%s' is no number of MiB", arg)
               : balloon_set(m, mib << 20, err);
}

/* Names joined by '-'. */
static int do_sendkey(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    AUTO_JSON struct json_object *args = json_object_new_object();
    struct json_object *keys = json_object_new_array();

    (void)out;
    for (const char *p = arg; *p != '\0';) {
        size_t len = strcspn(p, "-");
        AUTO_FREE char *name = strndup(p, len);
        struct json_object *key = json_object_new_object();

        (void)json_add_str(key, "type", "qcode");
        (void)json_add_str(key, "data", name != NULL ? name : "");
        (void)json_object_array_add(keys, key);
        p += len + (p[len] == '-');
    }
    (void)json_add(args, "keys", keys);
    return by_qmp(m, "send-key", args, err);
}

static int do_help(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    (void)m;
    (void)arg;
    (void)err;
    for (const struct hmp_command *c = hmp_commands; c->name != NULL; c++) {
        strbuf_printf(out, "%s %s -- %s\n", c->name, c->args, c->help);
    }
    return 0;
}

char *hmp_run(struct machine *m, const char *line)
{
    struct strbuf out = STRBUF_INIT(MAX_ANSWER);
    CLEANUP(err_freep) struct err *err = NULL;
    size_t len = strcspn(line, " ");
    const char *rest = line + len + strspn(line + len, " ");
    size_t arg_len = strlen(rest);
    AUTO_FREE char *arg = NULL;

    /* One argument, perhaps in quotes. */
    if (arg_len >= 2 && rest[0] == '"' && rest[arg_len - 1] == '"') {
        rest++;
        arg_len -= 2;
    }
    arg = strndup(rest, arg_len);
    for (const struct hmp_command *c = hmp_commands; arg != NULL && c->name != NULL; c++) {
        if (strlen(c->name) == len && strncmp(c->name, line, len) == 0) {
            if (c->fn(m, arg, &out, &err) < 0) {
                strbuf_printf(&out, "Error: %s\r\n", err != NULL ? err->text : "failed");
            }
            return strbuf_take(&out);
        }
    }
    strbuf_printf(&out, "unknown command: '%s'\r\n", line);
    return strbuf_take(&out);
}

const struct hmp_command hmp_commands[] = {
    { "help", "", "this list", do_help },
    { "info", "balloon|block|chardev|cpus|name|network|pci|snapshots|status", "shows state", do_info },
    { "device_add", "DRIVER[,PROP=VALUE...]", "adds a device", do_device_add },
    { "device_del", "ID", "asks the guest to let a device go", do_device_del },
    { "balloon", "MIB", "the guest shall have that much memory", do_balloon },
    { "eject", "DRIVE", "takes a medium out", do_eject },
    { "screendump", "FILE", "writes the screen to a PPM file", do_screendump },
    { "sendkey", "KEY[-KEY...]", "presses keys together", do_sendkey },
    { "stop", "", "stops the CPUs", do_stop },
    { "cont", "", "starts them again", do_cont },
    { "c", "", "as cont", do_cont },
    { "quit", "", "ends the emulator", do_quit },
    { "q", "", "as quit", do_quit },
    { "system_reset", "", "resets the machine", do_reset },
    { "system_powerdown", "", "presses the power button", do_powerdown },
    { "savevm", "NAME", "saves the machine into its images", do_savevm },
    { "loadvm", "NAME", "goes back to a saved machine", do_loadvm },
    { "delvm", "NAME", "deletes a saved machine", do_delvm },
    { NULL, NULL, NULL, NULL },
};
