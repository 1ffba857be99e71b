/* SPDX-License-Identifier: GPL-2.0-or-later */
/* config.h - the command line, parsed but not yet acted on. */
#pragma once

#include "base/err.h"
#include "vmm/machine/machine.h"
#include "codec/keyval.h"

#include <stdbool.h>
#include <stdint.h>

/* Options that may be repeated, in the order written. */
enum config_list_kind {
    LIST_CHARDEV,
    LIST_BLOCKDEV,
    LIST_DRIVE,
    LIST_NETDEV,
    LIST_FSDEV,
    LIST_VIRTFS,
    LIST_OBJECT,
    LIST_DEVICE,
    LIST_FW_CFG,
    LIST_MON,
    LIST_NIC,
    LIST_SMBIOS,
    LIST_NUMA,
    LIST_BOOT,
    LIST_VNC,
    _LIST_MAX,
};

struct config_list {
    struct keyval **items; /* owned */
    size_t n;
};

struct config_texts {
    char **items; /* owned */
    size_t n;
};

enum display_kind { DISPLAY_DEFAULT, DISPLAY_NONE, DISPLAY_NOGRAPHIC };

struct config {
    struct keyval *machine; /* owned: "type" and the machine's properties */
    char *accel;            /* owned: NULL for the default */
    bool accel_help;
    char *cpu; /* owned */
    uint64_t memory;
    unsigned n_cpus, max_cpus, sockets, cores, threads;
    char *kernel, *initrd, *append, *bios; /* owned */
    char *pidfile, *name, *uuid;           /* owned */
    char *incoming, *loadvm;               /* owned */
    char *gdb;                             /* owned: as -gdb */
    char *vga;                             /* owned: as -vga; NULL: the machine's default */
    char *rtc_base;                        /* owned: "utc", "localtime" or a date */
    struct config_list lists[_LIST_MAX];
    struct config_texts serials, monitors, qmps, data_dirs;
    enum display_kind display;
    bool nodefaults, no_reboot, no_shutdown, start_stopped, daemonize, sandbox_off;
    bool quiet, no_nic, snapshot;
    unsigned run_uid, run_gid; /* -runas; 0: stay who we are */
    enum watchdog_action watchdog_action;
    enum panic_action panic_action;
};

/* Fills *c. 1: an informational option (help, version) was answered, leave with status 0. */
int config_parse(struct config *c, int argc, char **argv, struct err **err) MUST_CHECK;
void config_done(struct config *c);

struct json_object;
/* The options, as query-command-line-options tells of them. */
struct json_object *cli_describe_options(void);
