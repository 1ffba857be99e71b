/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/events.h"

#include "base/arena.h"
#include "base/log.h"
#include "base/str.h"
#include "mgmt/driver/driver.h"
#include "mgmt/driver/qemu/blockjob.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/driver/qemu/stats.h"
#include "mgmt/model/domain/domain.h"
#include "mgmt/server/event.h"
#include "mgmt/server/server.h"
#include "mgmt/server/worker.h"
#include "rpc/protocol/qemu.h"
#include "rpc/protocol/remote.h"

#include <signal.h>

static void wire(const struct domain *d, struct remote_domain *ret)
{
    ret->name = d->name;
    memcpy(ret->uuid, d->uuid, 16);
    ret->id = d->id;
}

static void send_event(struct domain *d, int event, int proc, void *msg, int legacy_proc,
                       const void *legacy_msg)
{
    struct event_message m = { .class = EVENT_DOMAIN,
                               .event = event,
                               .object = d->uuid_text,
                               .program = &remote_program,
                               .proc = proc,
                               .msg = msg,
                               .legacy_proc = legacy_proc,
                               .legacy_msg = legacy_msg };

    if (d->world != NULL) {
        event_send(d->world->server, d->world, &m);
    }
}

void events_agent_lifecycle(struct domain *d, int state, int reason)
{
    struct remote_domain_event_callback_agent_lifecycle_msg m = { .state = state,
                                                                  .reason = reason };

    wire(d, &m.dom);
    send_event(d, DOMAIN_EVENT_AGENT_LIFECYCLE, REMOTE_DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE, &m, 0,
               NULL);
}

void events_device(struct domain *d, bool added, const char *alias)
{
    if (added) {
        struct remote_domain_event_callback_device_added_msg m = { .devAlias =
                                                                       (char *)(uintptr_t)alias };

        wire(d, &m.dom);
        send_event(d, DOMAIN_EVENT_DEVICE_ADDED, REMOTE_DOMAIN_EVENT_CALLBACK_DEVICE_ADDED, &m, 0,
                   NULL);
    } else {
        struct remote_domain_event_callback_device_removed_msg m = { 0 };

        wire(d, &m.msg.dom);
        m.msg.devAlias = (char *)(uintptr_t)alias;
        send_event(d, DOMAIN_EVENT_DEVICE_REMOVED, REMOTE_DOMAIN_EVENT_CALLBACK_DEVICE_REMOVED, &m,
                   REMOTE_DOMAIN_EVENT_DEVICE_REMOVED, &m.msg);
    }
}

void events_block_job(struct domain *d, const char *path, const char *dst, int type, int status)
{
    struct remote_domain_event_callback_block_job_msg one = { 0 };
    struct remote_domain_event_block_job_2_msg two = { .dst = (char *)(uintptr_t)dst,
                                                       .type_ = type,
                                                       .status = status };

    wire(d, &one.msg.dom);
    one.msg.path = (char *)(uintptr_t)(path != NULL ? path : "");
    one.msg.type_ = type;
    one.msg.status = status;
    send_event(d, DOMAIN_EVENT_BLOCK_JOB, REMOTE_DOMAIN_EVENT_CALLBACK_BLOCK_JOB, &one,
               REMOTE_DOMAIN_EVENT_BLOCK_JOB, &one.msg);
    wire(d, &two.dom);
    send_event(d, DOMAIN_EVENT_BLOCK_JOB_2, REMOTE_DOMAIN_EVENT_BLOCK_JOB_2, &two, 0, NULL);
}

void events_disk_change(struct domain *d, const char *old, const char *new_path, const char *alias,
                        int reason)
{
    struct remote_domain_event_callback_disk_change_msg m = { 0 };

    wire(d, &m.msg.dom);
    m.msg.oldSrcPath = (char *)(uintptr_t)old;
    m.msg.newSrcPath = (char *)(uintptr_t)new_path;
    m.msg.devAlias = (char *)(uintptr_t)alias;
    m.msg.reason = reason;
    send_event(d, DOMAIN_EVENT_DISK_CHANGE, REMOTE_DOMAIN_EVENT_CALLBACK_DISK_CHANGE, &m,
               REMOTE_DOMAIN_EVENT_DISK_CHANGE, &m.msg);
}

void events_job_completed(struct domain *d)
{
    struct arena a = ARENA_INIT(1 << 20);
    struct params p = { .arena = &a };
    struct remote_domain_event_callback_job_completed_msg m = { 0 };

    stats_params(run_of(d)->stats, &p);
    wire(d, &m.dom);
    m.params = p.list;
    m.n_params = p.n;
    if (!p.failed) {
        send_event(d, DOMAIN_EVENT_JOB_COMPLETED, REMOTE_DOMAIN_EVENT_CALLBACK_JOB_COMPLETED, &m, 0,
                   NULL);
    }
    arena_done(&a);
}

void events_tunable(struct domain *d, const char *field, uint64_t value)
{
    struct rpc_typed_param p = { .field = (char *)(uintptr_t)field,
                                 .kind = RPC_TYPED_ULLONG,
                                 .value.ul = value };
    struct remote_domain_event_callback_tunable_msg m = { .n_params = 1, .params = &p };

    wire(d, &m.dom);
    send_event(d, DOMAIN_EVENT_TUNABLE, REMOTE_DOMAIN_EVENT_CALLBACK_TUNABLE, &m, 0, NULL);
}

/* For everybody who watches the monitor itself. */
static void monitor_event(struct domain *d, const char *name, struct json_object *data, int64_t sec,
                          unsigned usec)
{
    struct qemu_domain_monitor_event_msg m = {
        .event = (char *)(uintptr_t)name,
        .seconds = sec,
        .micros = usec,
        .details = data != NULL ? (char *)(uintptr_t)json_object_to_json_string_ext(
                                      data, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
                                : NULL,
    };
    struct event_message e = { .class = EVENT_MONITOR,
                               .object = d->uuid_text,
                               .program = &qemu_program,
                               .proc = QEMU_DOMAIN_MONITOR_EVENT,
                               .msg = &m,
                               .name = name };

    wire(d, &m.dom);
    if (d->world != NULL) {
        event_send(d->world->server, d->world, &e);
    }
}

static void on_stop(struct run *r, struct json_object *data)
{
    struct domain *d = r->domain;

    (void)data;
    if (d->state != STATE_RUNNING || r->saw_shutdown) {
        return;
    }
    domain_set_state(d, STATE_PAUSED, r->stop_reason != 0 ? r->stop_reason : PAUSED_UNKNOWN);
    if (!r->quiet) {
        domain_emit(d, EVENT_SUSPENDED,
                    d->reason == PAUSED_MIGRATION || d->reason == PAUSED_SAVE ? SUSPENDED_MIGRATED
                    : d->reason == PAUSED_IOERROR                             ? SUSPENDED_IOERROR
                                                                              : SUSPENDED_PAUSED);
    }
    r->stop_reason = 0;
}

static void on_resume(struct run *r, struct json_object *data)
{
    struct domain *d = r->domain;

    (void)data;
    if (d->state == STATE_RUNNING) {
        return;
    }
    domain_set_state(d, STATE_RUNNING, r->resume_reason != 0 ? r->resume_reason : RUNNING_UNPAUSED);
    if (!r->quiet) {
        domain_emit(d, EVENT_RESUMED,
                    d->reason == RUNNING_MIGRATED        ? RESUMED_MIGRATED
                    : d->reason == RUNNING_FROM_SNAPSHOT ? RESUMED_FROM_SNAPSHOT
                                                         : RESUMED_UNPAUSED);
    }
    r->resume_reason = 0;
}

/* A reboot that the guest's own shutdown began: reset and go on. On a worker. */
static void reboot_now(void *arg)
{
    struct run *r = arg;

    if (r->domain != NULL) {
        r->saw_shutdown = false;
        if (monitor_run(r->qmp, "system_reset", NULL, NULL, NULL) == 0 && r->domain != NULL) {
            (void)process_cont(r->domain, RUNNING_BOOTED, RESUMED_UNPAUSED, NULL);
        }
    }
    run_unref(r);
}

static void on_shutdown(struct run *r, struct json_object *data)
{
    struct domain *d = r->domain;
    bool guest = false;

    guest = json_bool_or(data, "guest", guest);
    if (r->saw_shutdown || r->ending) {
        return;
    }
    r->saw_shutdown = true;
    r->guest_shutdown = guest;
    if (r->reboot_wanted) {
        r->reboot_wanted = false;
        if (worker_run(reboot_now, run_ref(r), false) < 0) {
            run_unref(r);
        }
        return;
    }
    if (node_is(d->def, "on_poweroff", "restart") && guest) {
        if (worker_run(reboot_now, run_ref(r), false) < 0) {
            run_unref(r);
        }
        return;
    }
    domain_set_state(d, STATE_SHUTDOWN, SHUTDOWN_UNKNOWN);
    domain_emit(d, EVENT_SHUTDOWN, guest ? SHUTDOWN_GUEST : SHUTDOWN_HOST);
    /* -no-shutdown kept it for us to look at. */
    (void)kill(r->pid, SIGTERM);
}

static void on_reset(struct run *r, struct json_object *data)
{
    struct domain *d = r->domain;
    struct remote_domain_event_callback_reboot_msg m = { 0 };

    (void)data;
    wire(d, &m.msg.dom);
    send_event(d, DOMAIN_EVENT_REBOOT, REMOTE_DOMAIN_EVENT_CALLBACK_REBOOT, &m,
               REMOTE_DOMAIN_EVENT_REBOOT, &m.msg);
    if (node_is(d->def, "on_reboot", "destroy") && !r->ending) {
        r->saw_shutdown = true;
        domain_set_state(d, STATE_SHUTDOWN, SHUTDOWN_UNKNOWN);
        domain_emit(d, EVENT_SHUTDOWN, SHUTDOWN_GUEST);
        (void)kill(r->pid, SIGTERM);
    }
}

static void on_device_deleted(struct run *r, struct json_object *data)
{
    const char *id = NULL;

    if (json_get_str(data, "device", &id, NULL) < 0) {
        return;
    }
    LIST_FOREACH (&r->pending, it) {
        struct device_wait *w = CONTAINER_OF(it, struct device_wait, link);

        if (str_eq(w->alias, id)) {
            w->gone = true;
        }
    }
}

static void on_unplug_error(struct run *r, struct json_object *data)
{
    const char *id = NULL;

    if (json_get_str(data, "device", &id, NULL) < 0) {
        return;
    }
    LIST_FOREACH (&r->pending, it) {
        struct device_wait *w = CONTAINER_OF(it, struct device_wait, link);

        if (str_eq(w->alias, id)) {
            w->refused = true;
        }
    }
}

static void on_rtc(struct run *r, struct json_object *data)
{
    struct remote_domain_event_callback_rtc_change_msg m = { 0 };
    int64_t offset = 0;

    offset = json_i64_or(data, "offset", offset);
    wire(r->domain, &m.msg.dom);
    m.msg.offset = offset;
    send_event(r->domain, DOMAIN_EVENT_RTC_CHANGE, REMOTE_DOMAIN_EVENT_CALLBACK_RTC_CHANGE, &m,
               REMOTE_DOMAIN_EVENT_RTC_CHANGE, &m.msg);
}

static void on_balloon(struct run *r, struct json_object *data)
{
    struct remote_domain_event_callback_balloon_change_msg m = { 0 };
    int64_t actual = 0;

    actual = json_i64_or(data, "actual", actual);
    (void)node_setf(r->domain->def, "currentMemory", "%lld", (long long)actual / 1024);
    wire(r->domain, &m.msg.dom);
    m.msg.actual = (uint64_t)actual / 1024;
    send_event(r->domain, DOMAIN_EVENT_BALLOON_CHANGE, REMOTE_DOMAIN_EVENT_CALLBACK_BALLOON_CHANGE,
               &m, REMOTE_DOMAIN_EVENT_BALLOON_CHANGE, &m.msg);
}

static void on_watchdog(struct run *r, struct json_object *data)
{
    static const char *const actions[] = { "none",     "pause", "reset",     "poweroff",
                                           "shutdown", "debug", "inject-nmi" };
    struct remote_domain_event_callback_watchdog_msg m = { 0 };
    const char *action = "none";

    action = json_str_or(data, "action", action);
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (str_eq(actions[i], action)) {
            m.msg.action = (int32_t)i;
        }
    }
    if (str_eq(action, "pause")) {
        r->stop_reason = PAUSED_WATCHDOG;
    }
    wire(r->domain, &m.msg.dom);
    send_event(r->domain, DOMAIN_EVENT_WATCHDOG, REMOTE_DOMAIN_EVENT_CALLBACK_WATCHDOG, &m,
               REMOTE_DOMAIN_EVENT_WATCHDOG, &m.msg);
}

static void on_io_error(struct run *r, struct json_object *data)
{
    struct remote_domain_event_callback_io_error_msg m = { 0 };
    const char *action = "report", *node = "";

    action = json_str_or(data, "action", action);
    node = json_str_or(data, "node-name", node);
    wire(r->domain, &m.msg.dom);
    m.msg.srcPath = (char *)(uintptr_t) "";
    m.msg.devAlias = (char *)(uintptr_t)node;
    m.msg.action = str_eq(action, "ignore") ? 0 : str_eq(action, "stop") ? 1 : 2;
    if (str_eq(action, "stop")) {
        r->stop_reason = PAUSED_IOERROR;
    }
    send_event(r->domain, DOMAIN_EVENT_IO_ERROR, REMOTE_DOMAIN_EVENT_CALLBACK_IO_ERROR, &m,
               REMOTE_DOMAIN_EVENT_IO_ERROR, &m.msg);
}

static void on_port(struct run *r, struct json_object *data)
{
    const char *id = "";
    bool open = false;

    id = json_str_or(data, "id", id);
    open = json_bool_or(data, "open", open);
    for (struct node *c = node_child(domain_devices(r->domain->def), "channel"); c != NULL;
         c = node_next(c, "channel")) {
        if (!node_is(c, "alias/@name", id)) {
            continue;
        }
        (void)node_set(c, "target/@state", open ? "connected" : "disconnected");
        if (node_is(c, "target/@name", "org.qemu.guest_agent.0")) {
            r->agent_connected = open;
            events_agent_lifecycle(r->domain, open ? 1 : 2, 2);
        }
    }
}

static void on_tray(struct run *r, struct json_object *data)
{
    struct remote_domain_event_callback_tray_change_msg m = { 0 };
    const char *id = "";
    bool open = false;

    id = json_str_or(data, "id", id);
    open = json_bool_or(data, "tray-open", open);
    for (struct node *k = node_child(domain_devices(r->domain->def), "disk"); k != NULL;
         k = node_next(k, "disk")) {
        if (node_is(k, "alias/@name", id)) {
            (void)node_set(k, "target/@tray", open ? "open" : NULL);
        }
    }
    wire(r->domain, &m.msg.dom);
    m.msg.devAlias = (char *)(uintptr_t)id;
    m.msg.reason = open ? 0 : 1;
    send_event(r->domain, DOMAIN_EVENT_TRAY_CHANGE, REMOTE_DOMAIN_EVENT_CALLBACK_TRAY_CHANGE, &m,
               REMOTE_DOMAIN_EVENT_TRAY_CHANGE, &m.msg);
}

static void on_migration_pass(struct run *r, struct json_object *data)
{
    struct remote_domain_event_callback_migration_iteration_msg m = { 0 };
    int64_t pass = 0;

    pass = json_i64_or(data, "pass", pass);
    r->migration_pass = (unsigned)pass;
    wire(r->domain, &m.dom);
    m.iteration = (int32_t)pass;
    send_event(r->domain, DOMAIN_EVENT_MIGRATION_ITERATION,
               REMOTE_DOMAIN_EVENT_CALLBACK_MIGRATION_ITERATION, &m, 0, NULL);
}

static void on_panicked(struct run *r, struct json_object *data)
{
    struct domain *d = r->domain;

    (void)data;
    domain_set_state(d, STATE_CRASHED, CRASHED_PANICKED);
    domain_emit(d, EVENT_CRASHED, 0);
    if (!node_is(d->def, "on_crash", "preserve")) {
        (void)kill(r->pid, SIGTERM);
    }
}

static void on_pmsuspend(struct run *r, struct json_object *data)
{
    struct remote_domain_event_callback_pmsuspend_msg m = { 0 };

    (void)data;
    domain_set_state(r->domain, STATE_PMSUSPENDED, 0);
    domain_emit(r->domain, EVENT_PMSUSPENDED, 0);
    wire(r->domain, &m.msg.dom);
    send_event(r->domain, DOMAIN_EVENT_PMSUSPEND, REMOTE_DOMAIN_EVENT_CALLBACK_PMSUSPEND, &m,
               REMOTE_DOMAIN_EVENT_PMSUSPEND, &m.msg);
}

static void on_pmwakeup(struct run *r, struct json_object *data)
{
    struct remote_domain_event_callback_pmwakeup_msg m = { 0 };

    (void)data;
    if (r->domain->state == STATE_PMSUSPENDED) {
        domain_set_state(r->domain, STATE_RUNNING, RUNNING_WAKEUP);
        domain_emit(r->domain, EVENT_STARTED, STARTED_WAKEUP);
    }
    wire(r->domain, &m.msg.dom);
    send_event(r->domain, DOMAIN_EVENT_PMWAKEUP, REMOTE_DOMAIN_EVENT_CALLBACK_PMWAKEUP, &m,
               REMOTE_DOMAIN_EVENT_PMWAKEUP, &m.msg);
}

static void on_threshold(struct run *r, struct json_object *data)
{
    struct remote_domain_event_block_threshold_msg m = { 0 };
    const char *node = "";
    int64_t threshold = 0, excess = 0;

    node = json_str_or(data, "node-name", node);
    threshold = json_i64_or(data, "write-threshold", threshold);
    excess = json_i64_or(data, "amount-exceeded", excess);
    for (const struct node *k = node_child(domain_devices(r->domain->def), "disk"); k != NULL;
         k = node_next(k, "disk")) {
        AUTO_FREE char *name = str_format("libvirt-%s-format", node_get(k, "source/@index"));
        AUTO_FREE char *storage = str_format("libvirt-%s-storage", node_get(k, "source/@index"));

        if (name == NULL || storage == NULL || (!str_eq(name, node) && !str_eq(storage, node))) {
            continue;
        }
        wire(r->domain, &m.dom);
        m.dev = (char *)(uintptr_t)node_get(k, "target/@dev");
        m.path = (char *)(uintptr_t)node_get(k, "source/@file");
        m.threshold = (uint64_t)threshold;
        m.excess = (uint64_t)excess;
        send_event(r->domain, DOMAIN_EVENT_BLOCK_THRESHOLD, REMOTE_DOMAIN_EVENT_BLOCK_THRESHOLD, &m,
                   0, NULL);
        return;
    }
}

static const struct {
    const char *name;
    void (*take)(struct run *r, struct json_object *data);
} handlers[] = {
    { "STOP", on_stop },
    { "RESUME", on_resume },
    { "SHUTDOWN", on_shutdown },
    { "RESET", on_reset },
    { "DEVICE_DELETED", on_device_deleted },
    { "DEVICE_UNPLUG_GUEST_ERROR", on_unplug_error },
    { "RTC_CHANGE", on_rtc },
    { "BALLOON_CHANGE", on_balloon },
    { "WATCHDOG", on_watchdog },
    { "BLOCK_IO_ERROR", on_io_error },
    { "BLOCK_WRITE_THRESHOLD", on_threshold },
    { "VSERPORT_CHANGE", on_port },
    { "DEVICE_TRAY_MOVED", on_tray },
    { "MIGRATION_PASS", on_migration_pass },
    { "GUEST_PANICKED", on_panicked },
    { "SUSPEND", on_pmsuspend },
    { "WAKEUP", on_pmwakeup },
    { "JOB_STATUS_CHANGE", blockjob_status },
};

void events_take(void *arg, const char *name, struct json_object *data, int64_t sec, unsigned usec)
{
    struct run *r = arg;

    if (r->domain == NULL) {
        return;
    }
    run_ref(r);
    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        if (str_eq(name, handlers[i].name)) {
            handlers[i].take(r, data);
        }
    }
    if (r->domain != NULL) {
        monitor_event(r->domain, name, data, sec, usec);
    }
    pthread_cond_broadcast(&r->changed);
    run_unref(r);
}
