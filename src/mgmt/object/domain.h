/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain.h - a domain: its definitions, its state, its place in the world.
 *
 * def is the definition in force: of the run while it is active, else the persistent one. While
 * a persistent domain is active, next is what the next start will use.
 *
 *      shut off --start--> running <--suspend/resume--> paused
 *          ^                  |                            |
 *          '------------ destroy, crash, shutdown ---------'
 * A transient domain leaves the world when it is shut off.
 */
#pragma once

#include "base/list.h"
#include "mgmt/model/node.h"
#include "mgmt/model/units.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct world;
struct remote_domain;
struct arena;
struct call;

enum domain_state {
    STATE_NOSTATE,
    STATE_RUNNING,
    STATE_BLOCKED,
    STATE_PAUSED,
    STATE_SHUTDOWN,
    STATE_SHUTOFF,
    STATE_CRASHED,
    STATE_PMSUSPENDED,
};

/* Reasons, by state (libvirt's numbers). */
enum {
    RUNNING_UNKNOWN = 0,
    RUNNING_BOOTED = 1,
    RUNNING_MIGRATED = 2,
    RUNNING_RESTORED = 3,
    RUNNING_FROM_SNAPSHOT = 4,
    RUNNING_UNPAUSED = 5,
    RUNNING_MIGRATION_CANCELED = 6,
    RUNNING_SAVE_CANCELED = 7,
    RUNNING_WAKEUP = 8,
    RUNNING_CRASHED = 9,
    RUNNING_POSTCOPY = 10,
    PAUSED_UNKNOWN = 0,
    PAUSED_USER = 1,
    PAUSED_MIGRATION = 2,
    PAUSED_SAVE = 3,
    PAUSED_DUMP = 4,
    PAUSED_IOERROR = 5,
    PAUSED_WATCHDOG = 6,
    PAUSED_FROM_SNAPSHOT = 7,
    PAUSED_SHUTTING_DOWN = 8,
    PAUSED_SNAPSHOT = 9,
    PAUSED_CRASHED = 10,
    PAUSED_STARTING_UP = 11,
    SHUTDOWN_UNKNOWN = 0,
    SHUTDOWN_USER = 1,
    SHUTOFF_UNKNOWN = 0,
    SHUTOFF_SHUTDOWN = 1,
    SHUTOFF_DESTROYED = 2,
    SHUTOFF_CRASHED = 3,
    SHUTOFF_MIGRATED = 4,
    SHUTOFF_SAVED = 5,
    SHUTOFF_FAILED = 6,
    SHUTOFF_FROM_SNAPSHOT = 7,
    SHUTOFF_DAEMON = 8,
    CRASHED_PANICKED = 1,
};

/* Life cycle events and their details. */
enum {
    EVENT_DEFINED,
    EVENT_UNDEFINED,
    EVENT_STARTED,
    EVENT_SUSPENDED,
    EVENT_RESUMED,
    EVENT_STOPPED,
    EVENT_SHUTDOWN,
    EVENT_PMSUSPENDED,
    EVENT_CRASHED,
};
enum {
    DEFINED_ADDED = 0,
    DEFINED_UPDATED = 1,
    DEFINED_RENAMED = 2,
    DEFINED_FROM_SNAPSHOT = 3,
    UNDEFINED_REMOVED = 0,
    UNDEFINED_RENAMED = 1,
    STARTED_BOOTED = 0,
    STARTED_MIGRATED = 1,
    STARTED_RESTORED = 2,
    STARTED_FROM_SNAPSHOT = 3,
    STARTED_WAKEUP = 4,
    SUSPENDED_PAUSED = 0,
    SUSPENDED_MIGRATED = 1,
    SUSPENDED_IOERROR = 2,
    SUSPENDED_WATCHDOG = 3,
    SUSPENDED_RESTORED = 4,
    SUSPENDED_FROM_SNAPSHOT = 5,
    SUSPENDED_API_ERROR = 6,
    RESUMED_UNPAUSED = 0,
    RESUMED_MIGRATED = 1,
    RESUMED_FROM_SNAPSHOT = 2,
    STOPPED_SHUTDOWN = 0,
    STOPPED_DESTROYED = 1,
    STOPPED_CRASHED = 2,
    STOPPED_MIGRATED = 3,
    STOPPED_SAVED = 4,
    STOPPED_FAILED = 5,
    STOPPED_FROM_SNAPSHOT = 6,
    SHUTDOWN_FINISHED = 0,
    SHUTDOWN_GUEST = 1,
    SHUTDOWN_HOST = 2,
};

enum { AFFECT_CURRENT = 0, AFFECT_LIVE = 1, AFFECT_CONFIG = 2 };
enum { XML_SECURE = 1, XML_INACTIVE = 2, XML_UPDATE_CPU = 4, XML_MIGRATABLE = 8 };

struct domain {
    struct list link;
    unsigned refs;
    struct world *world; /* NULL once it left */
    uint8_t uuid[16];
    char uuid_text[UUID_TEXT_BYTES];
    char *name; /* owned */
    int id;     /* -1: not active */
    struct node *def, *next;
    enum domain_state state;
    int reason;
    bool persistent, autostart, updated, has_managed_save;
    struct client *autodestroy; /* borrowed; ends with that client */

    const char *job; /* API name of what is changing it; NULL: nothing */
    pthread_cond_t job_cond;
    uint64_t job_start_usec;

    struct list snapshots, checkpoints;
    struct snapshot *current_snapshot;
    void *run; /* the driver's, while active */
};

struct domain *domain_ref(struct domain *d);
struct domain *domain_unref(struct domain *d);
DEFINE_CLEANUP(struct domain, domain_unref)
#define AUTO_DOMAIN CLEANUP(domain_unrefp)

/* Takes def. Fails when name or uuid belong to another one. */
int domain_add(struct world *w, struct node *def, struct domain **ret, struct err **err);
/* Drops it from the world (and that reference). */
void domain_remove(struct domain *d);
int domain_rename(struct domain *d, const char *name);

/* Borrowed; NULL. */
struct domain *domain_by_name(struct world *w, const char *name);
struct domain *domain_by_uuid(struct world *w, const uint8_t uuid[16]);
struct domain *domain_by_id(struct world *w, int id);
/* What a call names, counted; else "no domain with matching uuid". */
int domain_of_call(struct call *call, const struct remote_domain *wire, struct domain **ret,
                   struct err **err);
/* Fills the wire's form; strings live in the arena. */
void domain_to_wire(const struct domain *d, struct arena *a, struct remote_domain *ret);

static inline bool domain_active(const struct domain *d)
{
    return d->id >= 0;
}
/* "domain is not running" */
int domain_check_active(const struct domain *d, struct err **err) MUST_CHECK;

/* The definition that a change with these flags applies to, after checks: *ret_live when the run
 * is affected, *ret_config when the persistent one is. */
int domain_affects(struct domain *d, unsigned flags, struct node **ret_live,
                   struct node **ret_config, struct err **err);
/* The definition to read: of the run, or the persistent one. */
int domain_def_of(struct domain *d, unsigned flags, struct node **ret, struct err **err);
struct node *domain_config(const struct domain *d); /* the persistent one; of a transient: def */

/* One change at a time; waits at most half a minute for the other one. */
int domain_job_begin(struct domain *d, const char *api, struct err **err) MUST_CHECK;
void domain_job_end(struct domain *d);

/* The document for clients; owned by the caller. */
char *domain_xml(struct domain *d, unsigned flags, struct err **err);

void domain_set_state(struct domain *d, enum domain_state state, int reason);
void domain_emit(struct domain *d, int event, int detail);

/* The persistent definition, written in one step. */
int domain_save_config(struct domain *d, struct err **err) MUST_CHECK;
int domain_set_autostart(struct domain *d, bool on, struct err **err) MUST_CHECK;
void domain_delete_config(struct domain *d);
/* All definitions of the world's folder. */
int domain_load_all(struct world *w, struct err **err);
