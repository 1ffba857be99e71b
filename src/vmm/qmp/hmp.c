/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hmp.c - commands of the human monitor, by QMP's human-monitor-command. */
#include "vmm/qmp/hmp.h"

#include "base/hash.h"
#include "base/str.h"
#include "block/core/snapshot.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"
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
    strbuf_printf(out, "VM status: %s\n",
                  m->state == RUN_RUNNING  ? "running"
                  : m->state == RUN_PAUSED ? "paused"
                                           : run_state_name(m->state));
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

static int do_info(struct machine *m, const char *arg, struct strbuf *out, struct err **err)
{
    static const struct {
        const char *name;
        int (*fn)(struct machine *m, struct strbuf *out);
    } infos[] = { { "status", info_status }, { "pci", info_pci }, { "snapshots", info_snapshots } };

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
    { "info", "status|pci|snapshots", "shows state", do_info },
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
