/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/bus/pci/hotplug.h"

#include "vmm/bus/pci/pci.h"

#include <errno.h>

void pci_plugged(struct pci_dev *pd)
{
    struct pci_dev *bridge = pd->bus->bridge;

    /* The guest looks at a slot when its function 0 is there. */
    if ((pd->devfn & 7) != 0) {
        return;
    }
    if (bridge == NULL) {
        acpi_hotplug_plugged(pd->dev.m, pd->devfn >> 3);
    } else if (root_port_is(bridge)) {
        root_port_plugged(bridge);
    }
}

int pci_may_plug(struct machine *m, const char *name, struct err **err)
{
    struct pci_bus *bus = name != NULL ? pci_bus_find(m, name) : m->pci_root;

    if (bus == NULL) {
        return err_set(err, ENOENT, "Bus '%s' not found", name != NULL ? name : "");
    }
    if (bus->bridge == NULL && (bus->express || m->acpi_hotplug == NULL)) {
        return err_set(err, EINVAL, "Bus '%s' does not support hotplugging", bus->name);
    }
    return 0;
}

int pci_ask_unplug(struct pci_dev *pd, struct err **err)
{
    struct pci_dev *bridge = pd->bus->bridge;
    int r;

    if (pd->dev.cls->pci->no_hotplug) {
        return err_set(err, EINVAL, "Device '%s' does not support hotplugging", pd->dev.cls->name);
    }
    if (pd->unplug_asked) {
        return err_set(err, EBUSY, "Device %s is already in the process of unplug",
                       pd->dev.id != NULL ? pd->dev.id : "");
    }
    r = bridge == NULL ? acpi_hotplug_ask_unplug(pd->dev.m, pd->devfn >> 3, err)
                       : root_port_ask_unplug(bridge, err);
    if (r == 0) {
        pd->unplug_asked = true;
    }
    return r;
}

static void unplug(void *arg)
{
    struct pci_dev *pd = arg;

    device_delete(&pd->dev);
}

void pci_unplug_soon(struct pci_dev *pd)
{
    if (!pd->unplug_posted) {
        pd->unplug_posted = loop_post(pd->dev.m->loop, unplug, pd) == 0;
    }
}
