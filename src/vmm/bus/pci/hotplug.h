/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hotplug.h - functions that come and go while the guest runs.
 *
 * Coming: device_create() places a function; pci_plugged() tells the guest. Going: pci_ask_unplug()
 * asks the guest, which lets the slot go (ACPI _EJ0, or power off of a PCIe slot);
 * pci_unplug_soon() then frees the device on the main loop, with DEVICE_DELETED.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>

struct device;
struct machine;
struct pci_dev;

void pci_plugged(struct pci_dev *pd);
int pci_ask_unplug(struct pci_dev *pd, struct err **err) MUST_CHECK;
void pci_unplug_soon(struct pci_dev *pd);
/* Can a device come to that bus now? */
int pci_may_plug(struct machine *m, const char *bus, struct err **err) MUST_CHECK;

/* The two kinds of slots. */
bool root_port_is(const struct pci_dev *pd);
void root_port_plugged(struct pci_dev *port);
int root_port_ask_unplug(struct pci_dev *port, struct err **err) MUST_CHECK;
void acpi_hotplug_plugged(struct machine *m, unsigned slot);
int acpi_hotplug_ask_unplug(struct machine *m, unsigned slot, struct err **err) MUST_CHECK;
