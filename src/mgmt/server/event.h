/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * event.h - who wants to hear what, and telling them.
 *
 * A subscription is named by its callback id, one counter for all clients. Clients of libvirt
 * before 1.3 register by event number only and get messages without a callback id.
 */
#pragma once

#include "mgmt/server/client.h"

enum event_class {
    EVENT_DOMAIN,
    EVENT_NETWORK,
    EVENT_POOL,
    EVENT_NODE_DEVICE,
    EVENT_SECRET,
    EVENT_MONITOR,
};

enum domain_event {
    DOMAIN_EVENT_LIFECYCLE,
    DOMAIN_EVENT_REBOOT,
    DOMAIN_EVENT_RTC_CHANGE,
    DOMAIN_EVENT_WATCHDOG,
    DOMAIN_EVENT_IO_ERROR,
    DOMAIN_EVENT_GRAPHICS,
    DOMAIN_EVENT_IO_ERROR_REASON,
    DOMAIN_EVENT_CONTROL_ERROR,
    DOMAIN_EVENT_BLOCK_JOB,
    DOMAIN_EVENT_DISK_CHANGE,
    DOMAIN_EVENT_TRAY_CHANGE,
    DOMAIN_EVENT_PMWAKEUP,
    DOMAIN_EVENT_PMSUSPEND,
    DOMAIN_EVENT_BALLOON_CHANGE,
    DOMAIN_EVENT_PMSUSPEND_DISK,
    DOMAIN_EVENT_DEVICE_REMOVED,
    DOMAIN_EVENT_BLOCK_JOB_2,
    DOMAIN_EVENT_TUNABLE,
    DOMAIN_EVENT_AGENT_LIFECYCLE,
    DOMAIN_EVENT_DEVICE_ADDED,
    DOMAIN_EVENT_MIGRATION_ITERATION,
    DOMAIN_EVENT_JOB_COMPLETED,
    DOMAIN_EVENT_DEVICE_REMOVAL_FAILED,
    DOMAIN_EVENT_METADATA_CHANGE,
    DOMAIN_EVENT_BLOCK_THRESHOLD,
    DOMAIN_EVENT_MEMORY_FAILURE,
    DOMAIN_EVENT_MEMORY_DEVICE_SIZE_CHANGE,
    _DOMAIN_EVENT_END,
};

struct subscription_spec {
    enum event_class class;
    int event;
    const char *object;  /* uuid or name as text; NULL: every one */
    bool legacy;         /* messages without a callback id */
    const char *pattern; /* EVENT_MONITOR: name of the QMP event; NULL: all */
    unsigned pattern_flags;
};

/* The callback id, or an error (too many). */
int event_subscribe(struct client *c, const struct subscription_spec *spec, struct err **err);
/* By id (legacy: by event number). -ENOENT. */
int event_unsubscribe(struct client *c, enum event_class class, int callback_id);
int event_unsubscribe_legacy(struct client *c, int event);
void event_client_gone(struct client *c);

/* Sends to all subscribers of the world's object. msg is the generated message of the procedure
 * (its member callbackID, the first, is set here); legacy_proc/legacy_msg: for clients of the old
 * kind, 0/NULL: not sent to them. */
struct event_message {
    enum event_class class;
    int event;
    const char *object;
    const struct rpc_program *program;
    int proc;
    void *msg;
    int legacy_proc;
    const void *legacy_msg;
    const char *name; /* EVENT_MONITOR */
};
void event_send(struct server *s, struct world *w, const struct event_message *m);
