/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * root_port.c - a PCI Express root port: a bridge with one slot behind it, into and out of which
 * devices go at run time (native hot-plug, PCIe 4.0, 6.7).
 *
 * Bus numbers matter, the windows do not: a function's BARs are mapped where the guest puts them.
 */
#include "base/bytes.h"
#include "base/str.h"
#include "vmm/bus/pci/hotplug.h"
#include "vmm/bus/pci/pci.h"

#include <errno.h>
#include <stdio.h>

enum {
    EXP_SLOT_CAP = 0x14,
    EXP_SLOT_CTL = 0x18,
    EXP_SLOT_STATUS = 0x1a,
    SLOT_ATTENTION_BUTTON = 1 << 0,
    SLOT_POWER_CONTROLLER = 1 << 1,
    SLOT_ATTENTION_INDICATOR = 1 << 3,
    SLOT_POWER_INDICATOR = 1 << 4,
    SLOT_HOTPLUG_SURPRISE = 1 << 5,
    SLOT_HOTPLUG = 1 << 6,
    SLOT_INTERLOCK = 1 << 17,
    STATUS_BUTTON = 1 << 0,
    STATUS_PRESENCE_CHANGED = 1 << 3,
    STATUS_COMMAND_DONE = 1 << 4,
    STATUS_PRESENT = 1 << 6,
    CTL_INTERRUPT = 1 << 5,
    CTL_POWER_OFF = 1 << 10,
    CTL_POWER_INDICATOR = 3 << 8,
    INDICATOR_OFF = 3 << 8,
};

struct root_port {
    struct pci_dev pd;
    uint32_t chassis, slot, port;
    bool hotplug;
    char *io_reserve, *mem_reserve, *pref32_reserve, *pref64_reserve, *bus_reserve;
    uint16_t last_ctl;
};

static const struct opt port_opts[] = {
    OPT_U32(struct root_port, chassis, "chassis", "0", "chassis number"),
    OPT_U32(struct root_port, slot, "slot", "0", "slot number"),
    OPT_U32(struct root_port, port, "port", "0", "port number"),
    OPT_BOOL(struct root_port, hotplug, "hotplug", "on", "devices may come and go"),
    OPT_STR(struct root_port, io_reserve, "io-reserve", NULL, "accepted"),
    OPT_STR(struct root_port, mem_reserve, "mem-reserve", NULL, "accepted"),
    OPT_STR(struct root_port, pref32_reserve, "pref32-reserve", NULL, "accepted"),
    OPT_STR(struct root_port, pref64_reserve, "pref64-reserve", NULL, "accepted"),
    OPT_STR(struct root_port, bus_reserve, "bus-reserve", NULL, "accepted"),
    OPT_END,
};

static uint8_t *exp_at(struct root_port *p, unsigned off)
{
    return p->pd.config + p->pd.exp_cap + off;
}

static void notify(struct root_port *p, uint16_t events)
{
    uint16_t ctl = le16_get(exp_at(p, EXP_SLOT_CTL));
    uint16_t status = (uint16_t)(le16_get(exp_at(p, EXP_SLOT_STATUS)) | events);
    bool level;

    le16_put(exp_at(p, EXP_SLOT_STATUS), status);
    level = (ctl & CTL_INTERRUPT) != 0 && (status & ctl & 0x1f) != 0;
    if (pci_msi_enabled(&p->pd)) {
        if (level && events != 0) {
            pci_msi_send(&p->pd, 0);
        }
    } else {
        pci_set_intx(&p->pd, level);
    }
}

void root_port_plugged(struct pci_dev *port)
{
    struct root_port *p = (struct root_port *)port;

    le16_put(exp_at(p, EXP_SLOT_STATUS),
             (uint16_t)(le16_get(exp_at(p, EXP_SLOT_STATUS)) | STATUS_PRESENT));
    if (port->dev.realized) {
        notify(p, STATUS_PRESENCE_CHANGED | STATUS_BUTTON);
    }
}

int root_port_ask_unplug(struct pci_dev *port, struct err **err)
{
    struct root_port *p = (struct root_port *)port;

    if (!p->hotplug) {
        return err_set(err, EINVAL, "Bus '%s' does not support hotplugging", port->secondary->name);
    }
    notify(p, STATUS_BUTTON);
    return 0;
}

bool root_port_is(const struct pci_dev *pd)
{
    extern const struct device_class root_port_class;

    return pd->dev.cls == &root_port_class;
}

/* The guest has switched the slot off: what was asked to go, goes. */
static void powered_off(struct root_port *p)
{
    struct pci_bus *bus = p->pd.secondary;
    bool gone = false;

    for (unsigned devfn = 8; devfn-- > 0;) {
        struct pci_dev *pd = bus->devs[devfn];

        if (pd != NULL && pd->unplug_asked) {
            pci_unplug_soon(pd);
            gone = true;
        }
    }
    if (gone) {
        le16_put(exp_at(p, EXP_SLOT_STATUS),
                 (uint16_t)(le16_get(exp_at(p, EXP_SLOT_STATUS)) & ~STATUS_PRESENT));
        notify(p, STATUS_PRESENCE_CHANGED);
    }
}

static void port_config_written(struct pci_dev *pd, unsigned off, unsigned size)
{
    struct root_port *p = (struct root_port *)pd;
    unsigned ctl_at = pd->exp_cap + EXP_SLOT_CTL;

    if (off < ctl_at + 4 && off + size > ctl_at) {
        uint16_t ctl = le16_get(exp_at(p, EXP_SLOT_CTL));
        bool was_off = (p->last_ctl & CTL_POWER_OFF) != 0 &&
                       (p->last_ctl & CTL_POWER_INDICATOR) == INDICATOR_OFF;
        bool is_off = (ctl & CTL_POWER_OFF) != 0 && (ctl & CTL_POWER_INDICATOR) == INDICATOR_OFF;

        if (is_off && !was_off) {
            powered_off(p);
        }
        if (ctl != p->last_ctl) {
            p->last_ctl = ctl;
            notify(p, STATUS_COMMAND_DONE);
        } else {
            notify(p, 0);
        }
    }
}

static int port_init(struct pci_dev *pd, struct err **err)
{
    struct root_port *p = (struct root_port *)pd;
    AUTO_FREE char *name =
        pd->dev.id != NULL ? strdup(pd->dev.id) : str_format("pcie-port.%x", pd->devfn);
    int r;

    if (!pd->bus->express) {
        return err_set(err, EINVAL, "bus '%s' is no PCI Express bus: use machine q35",
                       pd->bus->name);
    }
    if (name == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    pci_add_express(pd, 4);
    le32_put(exp_at(p, EXP_SLOT_CAP),
             (p->hotplug
                  ? SLOT_ATTENTION_BUTTON | SLOT_POWER_CONTROLLER | SLOT_ATTENTION_INDICATOR |
                        SLOT_POWER_INDICATOR | SLOT_HOTPLUG | SLOT_INTERLOCK
                  : 0) |
                 p->slot << 19);
    le16_put(pd->wmask + pd->exp_cap + EXP_SLOT_CTL, 0x1fff & ~(1u << 11));
    le16_put(pd->w1cmask + pd->exp_cap + EXP_SLOT_STATUS, 0x1f);
    le16_put(pd->config + pd->exp_cap + 0x12, 0x2011); /* link active */
    pci_add_msi(pd, 1);
    memset(pd->wmask + PCI_PRIMARY_BUS, 0xff, 4);
    pd->wmask[0x1c] = pd->wmask[0x1d] = 0xf0; /* I/O window */
    pd->config[0x1c] = pd->config[0x1d] = 1;
    memset(pd->wmask + 0x20, 0xff, 0x14); /* memory windows */
    le16_put(pd->wmask + 0x20, 0xfff0);
    le16_put(pd->wmask + 0x22, 0xfff0);
    le16_put(pd->wmask + 0x24, 0xfff0);
    le16_put(pd->wmask + 0x26, 0xfff0);
    pd->config[0x24] = pd->config[0x26] = 1; /* 64 bits */
    le16_put(pd->wmask + PCI_BRIDGE_CONTROL, 0x7f);
    r = pci_bus_new(pd->dev.m, name, pd, true, &pd->secondary, err);
    if (r == 0) {
        pd->secondary->one_slot = true;
    }
    return r;
}

static void port_reset(struct pci_dev *pd)
{
    struct root_port *p = (struct root_port *)pd;
    bool present = false;

    for (unsigned devfn = 8; devfn-- > 0;) {
        struct pci_dev *child = pd->secondary->devs[devfn];

        if (child != NULL && child->unplug_asked) {
            pci_unplug_soon(child);
        }
        present |= child != NULL;
    }
    memset(pd->config + PCI_PRIMARY_BUS, 0, 3);
    le16_put(exp_at(p, EXP_SLOT_CTL), present ? 0x1c0 : 0x7c0); /* power and its indicator */
    le16_put(exp_at(p, EXP_SLOT_STATUS), present ? STATUS_PRESENT : 0);
    p->last_ctl = le16_get(exp_at(p, EXP_SLOT_CTL));
}

static const struct pci_class port_pci = {
    .vendor = PCI_VENDOR_REDHAT,
    .device = 0x000c,
    .class_code = 0x060400,
    .pin = 1,
    .bridge = true,
    .no_hotplug = true,
    .init = port_init,
    .reset = port_reset,
    .config_written = port_config_written,
};

static const struct state_field port_fields[] = { FIELD(struct root_port, last_ctl), FIELD_END };

const struct device_class root_port_class = {
    .name = "pcie-root-port",
    .desc = "PCI Express Root Port",
    .opts = port_opts,
    .size = sizeof(struct root_port),
    .pci = &port_pci,
    .fields = port_fields,
    PCI_DEVICE_CALLBACKS,
};
