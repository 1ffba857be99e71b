/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run.h - what a running emulator is to us: its process, its sockets, what we gave it.
 */
#pragma once

#include "mgmt/driver/qemu/monitor.h"
#include "mgmt/driver/qemu/probe.h"
#include "mgmt/object/domain.h"

enum { VCPUS_TRACKED_MAX = 1024 };

/* Where a move between hosts stands. */
enum migration_state {
    MIGRATION_NONE,
    MIGRATION_INCOMING,     /* waiting for the state */
    MIGRATION_POSTCOPY,     /* runs there, reads memory from here */
    MIGRATION_DONE_RUNNING, /* all is there; it ran before */
    MIGRATION_DONE_PAUSED,
};

struct run {
    unsigned refs;
    struct domain *domain; /* borrowed; NULL when the run is over */
    pid_t pid;
    unsigned long long start_time; /* of the process, so that a reused pid is not taken for it */
    struct loop_source *child;     /* NULL after a restart of the daemon */
    struct monitor *qmp;
    struct monitor *agent; /* NULL until somebody needs it */
    char *agent_path;      /* owned; NULL: no channel */
    char *dir;             /* owned; with the monitor's socket */
    char *monitor_path;    /* owned */
    const struct emulator *emulator;
    unsigned next_node;
    unsigned vnc_port, websocket_port, spice_port;
    pid_t vcpu_pids[VCPUS_TRACKED_MAX];
    unsigned n_vcpu_pids;
    bool ending; /* the next end of the process is ours */
    bool saw_shutdown, guest_shutdown;
    int stop_reason; /* why the next STOP event happens */
    int resume_reason;
    bool quiet;             /* no life cycle events from STOP and RESUME */
    bool reboot_wanted;     /* SHUTDOWN is followed by a reset */
    pthread_cond_t changed; /* an event came */
    struct list pending;    /* of struct device_wait: DEVICE_DELETED */
    struct list block_jobs;
    struct list net_names;
    /* Migration, save, dump as seen by events. */
    enum migration_state migration;
    uint64_t migrate_mib, migrate_downtime_msec; /* limits that were set; 0: none */
    unsigned migrate_port;                       /* listening here */
    unsigned migration_pass;
    struct job_stats *stats;
    const char *job_operation;
    bool job_abort;
    bool agent_connected;
    /* A backup (backup.c): its document, the reason it failed. */
    struct node *backup; /* owned; NULL: none */
    char *backup_why;    /* owned */
    unsigned backup_port;
    bool backup_reuse;
};

struct run *run_new(struct domain *d);
struct run *run_ref(struct run *r);
struct run *run_unref(struct run *r);
/* The run of an active domain. */
static inline struct run *run_of(struct domain *d)
{
    return d->run;
}
