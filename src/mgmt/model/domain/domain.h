/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain.h - a domain's definition made whole: what the user left out is filled in, what cannot be
 * is refused, as libvirt does for its QEMU driver on x86.
 */
#pragma once

#include "mgmt/model/node.h"

/* What the definition is completed from; the driver's. */
struct domain_facts {
    const char *arch;     /* "x86_64" */
    const char *emulator; /* default for the type and architecture; NULL: none is added */
    /* The versioned name of a machine ("pc" -> "pc-i440fx-7.2"), or NULL when there is no such one.
     */
    const char *(*machine)(void *arg, const char *emulator, const char *type, const char *name);
    const char *(*default_machine)(void *arg, const char *emulator, const char *type);
    /* CPU model a domain gets that names none; NULL: nothing is written. */
    const char *(*default_cpu)(void *arg, const char *emulator, const char *machine);
    void *arg;
    bool plain;               /* the test driver: no hardware is thought of */
    const char *autofill_dir; /* nvram files */
};

/* Whole definition. config: it comes from a user (uuid and addresses may be missing). */
int domain_complete(struct node *def, const struct domain_facts *f, struct err **err) MUST_CHECK;
/* One device about to be added to the completed definition def (as its child already). */
int domain_complete_device(struct node *def, struct node *dev, const struct domain_facts *f,
                           struct err **err) MUST_CHECK;

/* The parts. */
int disk_complete(struct node *def, struct node *disk, struct err **err) MUST_CHECK;
int interface_complete(struct node *def, struct node *nic, struct err **err) MUST_CHECK;
int chardev_complete(struct node *def, struct node *chr, struct err **err) MUST_CHECK;
int graphics_complete(struct node *def, struct node *g, struct err **err) MUST_CHECK;
int video_complete(struct node *def, struct node *v, struct err **err) MUST_CHECK;
int cpu_complete(struct node *def, const struct domain_facts *f, struct err **err) MUST_CHECK;
int misc_complete(struct node *def, struct node *dev, struct err **err) MUST_CHECK;
/* Controllers that devices need, and where each sits. */
int controllers_complete(struct node *def, struct err **err) MUST_CHECK;
int addresses_assign(struct node *def, struct err **err) MUST_CHECK;
/* Names by which a running emulator knows its devices ("virtio-disk0"). */
int aliases_assign(struct node *def, struct err **err) MUST_CHECK;

bool domain_is_q35(const struct node *def);
bool domain_is_i440fx(const struct node *def);
struct node *domain_devices(const struct node *def);
/* Position of a disk's target in its bus: "vdb" is 1; -1. */
int disk_index(const char *target);
char *disk_target_name(const char *prefix, unsigned index);
/* Type, index, model of a controller that must exist; made when not. */
struct node *controller_need(struct node *def, const char *type, unsigned index, const char *model);
bool device_is_virtio(const struct node *dev);
