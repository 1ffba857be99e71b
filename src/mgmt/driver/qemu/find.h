/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * find.h - a domain's parts by the names that clients use, and small helpers of the handlers.
 */
#pragma once

#include "mgmt/daemon/calls.h"
#include "mgmt/driver/qemu/run.h"
#include "mgmt/model/domain/domain.h"

/* By target ("vda") or source path. */
struct node *find_disk(const struct node *def, const char *name);
struct node *find_nic(const struct node *def, const char *name); /* target or MAC address */
/* The lines for disks ("disk" with a name) as the definition has them. */
void disks_in_order(struct node *disks, const struct node *def);
/* "libvirt-1-format"; owned by the caller. */
char *disk_node_name(const struct node *disk);
/* "/machine/peripheral/virtio-disk0/virtio-backend" or what the emulator calls the drive; owned. */
char *disk_qom_path(const struct node *disk);

/* Looks the domain up, begins its job, and checks that it is active when asked. Ends with
 * use_end(). */
struct use {
    struct domain *d; /* counted */
    bool job;
};
int use_begin(struct call *call, const struct remote_domain *wire, bool active, struct use *ret,
              struct err **err);
void use_end(struct use *u);
#define AUTO_USE CLEANUP(use_end)
