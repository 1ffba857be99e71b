/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pci.h - PCI and PCI Express functions: configuration space, BARs, interrupts, capabilities, and
 * the buses they sit on (PCI 3.0, PCIe 4.0).
 *
 * A function's struct begins with struct pci_dev; its device_class names a struct pci_class and
 * uses PCI_DEVICE_CALLBACKS. The core places the function, keeps its configuration space, and maps
 * what the BARs say; the class fills in registers and memory.
 *
 * Everything runs with the machine's lock held, on any thread.
 */
#pragma once

#include "vmm/bus/iobus.h"
#include "vmm/dev/device.h"
#include "vmm/machine/machine.h"

enum {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_COMMAND_IO = 1,
    PCI_COMMAND_MEMORY = 2,
    PCI_COMMAND_MASTER = 4,
    PCI_COMMAND_SERR = 0x100,
    PCI_COMMAND_INTX_DISABLE = 0x400,
    PCI_STATUS = 0x06,
    PCI_STATUS_INTERRUPT = 8,
    PCI_STATUS_CAPABILITIES = 0x10,
    PCI_REVISION = 0x08,
    PCI_CLASS_PROG = 0x09,
    PCI_CLASS = 0x0a,
    PCI_HEADER_TYPE = 0x0e,
    PCI_HEADER_MULTIFUNCTION = 0x80,
    PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM_VENDOR_ID = 0x2c,
    PCI_SUBSYSTEM_ID = 0x2e,
    PCI_ROM = 0x30,
    PCI_CAPABILITIES = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
    /* Type 1 headers (bridges). */
    PCI_PRIMARY_BUS = 0x18,
    PCI_SECONDARY_BUS = 0x19,
    PCI_SUBORDINATE_BUS = 0x1a,
    PCI_BRIDGE_ROM = 0x38,
    PCI_BRIDGE_CONTROL = 0x3e,

    PCI_CAP_PM = 0x01,
    PCI_CAP_MSI = 0x05,
    PCI_CAP_VENDOR = 0x09,
    PCI_CAP_EXPRESS = 0x10,
    PCI_CAP_MSIX = 0x11,

    PCI_VENDOR_INTEL = 0x8086,
    PCI_VENDOR_REDHAT = 0x1b36,
    PCI_VENDOR_VIRTIO = 0x1af4,
    PCI_SUBSYSTEM_QEMU = 0x1100,

    PCI_ROM_BAR = 6,
    PCI_N_BARS = 7,
    PCI_CONFIG_BYTES = 256,
    PCIE_CONFIG_BYTES = 4096,
    PCI_MAX_VECTORS = 2048,
};

#define PCI_DEVFN(slot, fn) ((uint8_t)((slot) << 3 | (fn)))
#define PCI_UNMAPPED        UINT64_MAX

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

struct pci_bar {
    enum pci_bar_kind kind;
    bool prefetch;
    uint64_t size; /* a power of two */
    /* Registers, or memory that the guest uses directly. */
    const struct io_ops *ops;
    void *arg;
    const char *name;
    uint8_t *host;
    bool read_only;
    unsigned slot;        /* of the accelerator, while memory is mapped */
    uint64_t at;          /* where it is mapped now, or PCI_UNMAPPED */
    uint64_t wanted;      /* what the guest chose last */
    uint64_t mapped_size; /* of host: whole pages */
};

struct pci_dev;

struct pci_bus {
    struct list link; /* machine's pci_buses */
    char *name;       /* owned: "pci.0", or the bridge's id */
    struct machine *m;
    struct pci_dev *bridge; /* NULL: the root */
    bool express;
    bool one_slot; /* behind a port: device 0 only */
    struct pci_dev *devs[256];
    /* The root's: the chipset turns its pins into interrupts. */
    unsigned (*map_pin)(void *arg, unsigned slot, unsigned pin);
    void (*set_pirq)(void *arg, unsigned pirq, int level);
    void *irq_arg;
    unsigned pirq_count[8];
};

struct pci_class {
    uint16_t vendor, device;
    uint16_t subsystem_vendor, subsystem; /* 0: QEMU's */
    uint32_t class_code;                  /* class, subclass, programming interface */
    uint8_t revision;
    uint8_t pin;  /* 1: INTA#; 0: none */
    bool express; /* gets an Express capability where the bus is Express */
    bool bridge;  /* type 1 header */
    bool no_hotplug;
    int (*init)(struct pci_dev *pd, struct err **err);
    void (*done)(struct pci_dev *pd);
    void (*reset)(struct pci_dev *pd);
    /* After the core has stored what was written. */
    void (*config_written)(struct pci_dev *pd, unsigned off, unsigned size);
};

struct pci_dev {
    struct device dev;
    /* Options (pci_opts). */
    char *opt_addr, *opt_bus, *opt_romfile;
    bool opt_multifunction;
    uint32_t opt_rombar;

    struct pci_bus *bus;
    uint8_t devfn;
    bool placed;
    uint8_t *config;  /* owned */
    uint8_t *wmask;   /* owned: bits that the guest writes */
    uint8_t *w1cmask; /* owned: bits that writing 1 clears */
    size_t config_size;
    struct pci_bar bars[PCI_N_BARS];
    unsigned next_cap;
    unsigned last_cap;
    bool intx; /* level of our pin, as the class wants it */
    bool wire; /* as the interrupt controllers see it */
    unsigned msi_cap, msix_cap, exp_cap, pm_cap;
    unsigned msix_n;
    uint8_t *msix_table, *msix_pba; /* owned */
    struct pci_bus *secondary;      /* of bridges */
    uint8_t *rom;                   /* owned mapping */
    size_t rom_size;
    bool unplug_asked, unplug_posted;
};

extern const struct opt pci_opts[];

/* Realize, reset and destroy of a class whose .pci is set. */
int pci_realize(struct device *dev, struct err **err);
void pci_reset(struct device *dev);
void pci_destroy(struct device *dev);
#define PCI_DEVICE_CALLBACKS                                                          \
    .bus = "PCI", .realize = pci_realize, .reset = pci_reset, .destroy = pci_destroy, \
    .bus_opts = pci_opts

/* For classes, in init(). */
void pci_add_bar_io(struct pci_dev *pd, unsigned n, enum pci_bar_kind kind, uint64_t size,
                    const struct io_ops *ops, void *arg, const char *name);
/* host: size bytes of a page-aligned mapping that outlives the function. */
void pci_add_bar_memory(struct pci_dev *pd, unsigned n, enum pci_bar_kind kind, uint64_t size,
                        uint8_t *host, bool read_only);
/* Room in configuration space; returns its offset. */
unsigned pci_add_capability(struct pci_dev *pd, uint8_t id, unsigned size);
void pci_add_power_management(struct pci_dev *pd);
void pci_add_msi(struct pci_dev *pd, unsigned vectors);
/* Table and pending bits in memory BAR n, which becomes theirs alone. */
int pci_add_msix(struct pci_dev *pd, unsigned n, unsigned vectors, struct err **err) MUST_CHECK;
/* The same for a BAR that has other registers: the class calls pci_msix_read/write for the parts.
 */
int pci_add_msix_at(struct pci_dev *pd, unsigned n, unsigned vectors, uint32_t table, uint32_t pba,
                    struct err **err) MUST_CHECK;
uint64_t pci_msix_read(struct pci_dev *pd, uint64_t off, unsigned size);
void pci_msix_write(struct pci_dev *pd, uint64_t off, uint64_t value, unsigned size);
/* Express capability (PCIe 4.0, 7.5.3); type: 0 endpoint, 4 root port, 9 integrated endpoint. */
void pci_add_express(struct pci_dev *pd, unsigned type);
/* Option ROM from a file below QEMU's folders (-L), unless the user says otherwise. */
int pci_add_rom(struct pci_dev *pd, const char *file, struct err **err) MUST_CHECK;

/* Interrupts. */
void pci_set_intx(struct pci_dev *pd, bool level);
bool pci_msi_enabled(const struct pci_dev *pd);
bool pci_msix_enabled(const struct pci_dev *pd);
void pci_msi_send(struct pci_dev *pd, unsigned vector);
void pci_msix_send(struct pci_dev *pd, unsigned vector);
/* INTx, MSI or MSI-X vector 0, as the guest has set it up; MSI fires on the rising edge. */
void pci_set_interrupt(struct pci_dev *pd, bool level);

/* Configuration accesses, as from the guest. */
uint32_t pci_config_read(struct pci_dev *pd, unsigned off, unsigned size);
void pci_config_write(struct pci_dev *pd, unsigned off, uint32_t value, unsigned size);
/* BARs as configuration space says now. */
void pci_update_bars(struct pci_dev *pd);

/* Buses. */
int pci_bus_new(struct machine *m, const char *name, struct pci_dev *bridge, bool express,
                struct pci_bus **ret, struct err **err) MUST_CHECK;
struct pci_bus *pci_bus_free(struct pci_bus *bus);
struct pci_bus *pci_bus_find(struct machine *m, const char *name);
struct pci_bus *pci_bus_by_number(struct machine *m, unsigned number);
unsigned pci_bus_number(const struct pci_bus *bus);
struct pci_dev *pci_find(struct machine *m, unsigned bus, unsigned devfn);
static inline struct pci_bus *pci_root(struct machine *m)
{
    return m->pci_root;
}

/* host.c: ports 0xcf8 and 0xcfc, and the memory window of PCIe. */
extern const struct io_ops pci_cf8_io;
extern const struct io_ops pci_cfc_io;
extern const struct io_ops pci_ecam_io;
