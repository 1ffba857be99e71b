/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cmdline.h - an emulator's command line from a live definition, as libvirt 9 writes it: JSON for
 * -device, -blockdev, -netdev and -object. The same JSON serves hot-plug over QMP.
 */
#pragma once

#include "codec/json.h"
#include "mgmt/driver/qemu/probe.h"
#include "mgmt/model/node.h"

struct run;

enum { CMDLINE_FDS_MAX = 128, CMDLINE_ARGS_MAX = 4096 };

struct cmdline {
    const struct emulator *emulator;
    struct node *def;
    struct run *run;
    char **argv; /* owned, with its strings; ends with NULL */
    unsigned n;
    char **env; /* owned */
    unsigned n_env;
    int fds[CMDLINE_FDS_MAX]; /* owned; handed to the emulator */
    unsigned n_fds;
    bool failed;
    bool dry;             /* only to be read: no sockets, taps or ports are made */
    const char *incoming; /* "defer", or NULL */
    const char *loadvm;   /* snapshot to begin with, or NULL */
    char *lib_dir;        /* borrowed: of this run */
    int monitor_fd;       /* the listening socket; in fds */
};

void cmdline_arg(struct cmdline *c, const char *arg);
void cmdline_argf(struct cmdline *c, const char *fmt, ...) PRINTF(2, 3);
void cmdline_json(struct cmdline *c, const char *option, struct json_object *o); /* consumes o */
/* The number by which the emulator knows the descriptor (the same). Takes it. */
int cmdline_fd(struct cmdline *c, int fd);
void cmdline_done(struct cmdline *c);

int cmdline_build(struct cmdline *c, struct err **err) MUST_CHECK;

/* The parts, by device. All return counted JSON objects, NULL on failure. */
struct json_object *device_json(struct cmdline *c, const char *driver, const struct node *dev);
void device_address(struct json_object *o, const struct node *def, const struct node *dev);
struct json_object *disk_device(struct cmdline *c, const struct node *disk);
/* The nodes of an image and its chain, top last. Names are put into the definition's privateData.
 */
int disk_blockdevs(struct cmdline *c, struct node *disk, struct json_object *ret_array,
                   struct err **err);
int storage_blockdev(struct cmdline *c, struct node *owner, const char *type, const char *format,
                     const char *node_base, bool read_only, const char *backing_node,
                     struct json_object *ret_array, struct err **err);
struct json_object *nic_device(struct cmdline *c, const struct node *nic);
/* Also makes the tap; *ret_fd is the caller's to hand over, -1 when none. */
struct json_object *nic_backend(struct cmdline *c, struct node *nic, int *ret_fd, struct err **err);
struct json_object *controller_device(struct cmdline *c, const struct node *ctl);
int chardev_args(struct cmdline *c, struct node *chr, struct err **err);
int misc_args(struct cmdline *c, struct node *dev, struct err **err);
/* device_add's arguments for rng, memballoon, watchdog, input and the like; NULL: not one of them.
 */
struct json_object *misc_device(struct cmdline *c, const struct node *dev);
