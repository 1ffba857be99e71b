/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device.h - what a device model tells the machine about itself: one const table per device, from
 * which -device, its help, QMP's listing and tests are derived.
 *
 * All callbacks run with the machine's lock held: bus accesses on a vCPU's thread, everything else
 * on the main loop.
 */
#pragma once

#include "base/err.h"
#include "base/list.h"
#include "base/opt.h"

#include <stdbool.h>
#include <stdint.h>

struct device;
struct disk;
struct json_object;
struct keyval;
struct machine;
struct pci_class;
struct state_stream;
struct usb_class;
struct virtio_class;

/* A piece of a device's state, for savevm and migration: members that are plain bytes. */
struct state_field {
    const char *name;
    size_t offset;
    size_t size;
};
#define FIELD(T, member)                                                                    \
    {                                                                                       \
        .name = #member, .offset = offsetof(T, member), .size = sizeof(((T *)NULL)->member) \
    }
#define FIELD_END    \
    {                \
        .name = NULL \
    }

/* What QMP may read and change while the machine exists, beyond the options. */
struct device_prop {
    const char *name; /* NULL ends a table */
    const char *type;
    struct json_object *(*get)(struct device *dev);
    int (*set)(struct device *dev, struct json_object *value, struct err **err); /* NULL: no */
};

struct device_class {
    const char *name; /* as on the command line */
    const char *bus;  /* "ISA", "System", "virtio-bus" ...: for help */
    const char *desc;
    const struct opt *opts;     /* NULL: none */
    const struct opt *bus_opts; /* what the bus adds; may be NULL */
    const struct device_prop *props; /* NULL: none */
    size_t size;                /* of the device's struct, which begins with struct device */
    bool internal;              /* boards make it; -device refuses it */
    bool hotplug_free;          /* goes without asking the guest (ports, SCSI disks) */
    /* Options are set; claims bus ranges and back ends. A failure is followed by destroy. */
    int (*realize)(struct device *dev, struct err **err);
    void (*reset)(struct device *dev);
    void (*destroy)(struct device *dev);
    const struct virtio_class *virtio; /* a virtio device seen through a transport */
    const struct pci_class *pci;       /* a function on a PCI bus */
    const struct usb_class *usb;       /* a USB device */
    /* Something firmware can boot from (takes bootindex=): its path below the bus, as Open
     * Firmware writes it, into buf. */
    void (*boot_path)(const struct device *dev, char *buf, size_t len);
    /* The PCI function whose bus it sits on; NULL: none, or it is one. */
    const struct device *(*boot_parent)(const struct device *dev);
    /* Its disk, whose image QMP asks about and changes; NULL: it has none. */
    struct disk *(*disk)(struct device *dev);
    void (*resized)(struct device *dev);        /* the image has another size; may be NULL */
    void (*medium_changed)(struct device *dev); /* of removable media; NULL: they stay */
    /* What savevm keeps, and what to do once it is back. */
    const struct state_field *fields;
    void (*pre_save)(struct device *dev);
    /* What is in no table: video memory. Either may be NULL. */
    void (*save_more)(struct device *dev, struct state_stream *s);
    void (*load_more)(struct device *dev, struct state_stream *s);
    int (*post_load)(struct device *dev, struct err **err);
};

struct device {
    const struct device_class *cls;
    struct machine *m; /* borrowed */
    struct list link;  /* machine.devices */
    char *id;          /* owned; NULL when the user gave none */
    bool realized;
    int64_t bootindex; /* -1: none */
};

extern const struct device_class *const device_classes[]; /* registry.c; ends with NULL */

/* By name or alias, else NULL. */
const struct device_class *device_class_find(const char *name);
/* The same for a machine: "virtio-blk" is what its buses take. */
const struct device_class *device_class_for(const struct machine *m, const char *name);
struct device *device_find(struct machine *m, const char *id);

/* Makes, sets up and realizes the device, which the machine then owns. opts (options "driver" and
 * "id", and the class's) may be NULL; an option that the class does not have is an error. */
int device_create(struct machine *m, const struct device_class *cls, struct keyval *opts,
                  struct device **ret, struct err **err) MUST_CHECK;
/* As device_create() from text: "NAME,OPTION=VALUE...". */
int device_create_text(struct machine *m, const char *text, struct device **ret, struct err **err)
    MUST_CHECK;
void device_reset(struct device *dev);
/* Takes it off a running machine and tells so (DEVICE_DELETED). Main loop. */
void device_delete(struct device *dev);
/* Takes it off the machine. */
struct device *device_free(struct device *dev);
DEFINE_CLEANUP(struct device, device_free)
