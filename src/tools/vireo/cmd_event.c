/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_event.c - waiting for what happens to domains, networks, pools, devices and secrets. */
#include "tools/vireo/shell.h"

#include <inttypes.h>
#include <signal.h>
#include <time.h>

enum { DOMAIN_EVENTS = 27, CALLBACKS_MAX = 64, TICK_MS = 200 };

char *param_text(const struct vireo_param *p);

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

/* The name at an index, or the first. */
#define NAME(list, i)                                                                            \
    ((i) >= 0 && (size_t)(i) < sizeof(list) / sizeof((list)[0]) && (list)[i] != NULL ? (list)[i] \
                                                                                     : "unknown")

static const char *const domain_events[DOMAIN_EVENTS] = {
    "lifecycle",
    "reboot",
    "rtc-change",
    "watchdog",
    "io-error",
    "graphics",
    "io-error-reason",
    "control-error",
    "block-job",
    "disk-change",
    "tray-change",
    "pm-wakeup",
    "pm-suspend",
    "balloon-change",
    "pm-suspend-disk",
    "device-removed",
    "block-job-2",
    "tunable",
    "agent-lifecycle",
    "device-added",
    "migration-iteration",
    "job-completed",
    "device-removal-failed",
    "metadata-change",
    "block-threshold",
    "memory-failure",
    "memory-device-size-change",
};
static const char *const life[] = { "Defined", "Undefined", "Started",     "Suspended", "Resumed",
                                    "Stopped", "Shutdown",  "PMSuspended", "Crashed" };
static const char *const details[][8] = {
    { "Added", "Updated", "Renamed", "Snapshot" },
    { "Removed", "Renamed" },
    { "Booted", "Migrated", "Restored", "Snapshot", "Event wakeup" },
    { "Paused", "Migrated", "I/O Error", "Watchdog", "Restored", "Snapshot", "API error",
      "Post-copy" },
    { "Unpaused", "Migrated", "Snapshot", "Post-copy" },
    { "Shutdown", "Destroyed", "Crashed", "Migrated", "Saved", "Failed", "Snapshot", "Daemon" },
    { "Finished", "Finished after guest request", "Finished after host request" },
    { "Memory", "Disk" },
    { "Panicked", "Crashloaded" },
};
static const char *const plain_life[] = { "Defined", "Undefined", "Started",
                                          "Stopped", "Created",   "Deleted" };
static const char *const device_life[] = { "Created", "Deleted", "Defined", "Undefined" };
static const char *const watchdog[] = { "none",     "pause", "reset",     "poweroff",
                                        "shutdown", "debug", "inject-nmi" };
static const char *const io_error[] = { "none", "pause", "report" };
static const char *const job_types[] = { "Unknown job",  "Block Pull",          "Block Copy",
                                         "Block Commit", "Active Block Commit", "Backup" };
static const char *const job_status[] = { "completed", "failed", "canceled", "ready" };
static const char *const disk_change[] = { "changed", "dropped" };
static const char *const tray[] = { "opened", "closed" };
static const char *const agent_state[] = { "unknown", "connected", "disconnected" };
static const char *const agent_reason[] = { "unknown", "domain started", "channel event" };
static const char *const metadata[] = { "description", "title", "element" };
static const char *const phase[] = { "connect", "initialize", "disconnect" };

struct watch {
    struct args *a;
    unsigned seen;
    bool loop, stamp;
};

static void begin(struct watch *w)
{
    struct timespec t;
    struct tm tm;
    char text[64];

    w->seen++;
    if (w->stamp) {
        (void)clock_gettime(CLOCK_REALTIME, &t);
        (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", gmtime_r(&t.tv_sec, &tm));
        printf("%s.%03ld+0000: ", text, t.tv_nsec / 1000000);
    }
}

static void print_params(const struct vireo_param *params, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        AUTO_FREE char *text = param_text(&params[i]);

        printf("\t%s: %s\n", params[i].field, text != NULL ? text : "");
    }
}

/* Every message of a domain's events: its struct begins with the callback's number and, after a
 * reason in some, the domain. */
#define MSG(type) const struct vireo_domain_event_##type##_msg *m = msg

static void print_domain_event(int event, const void *msg)
{
    switch (event) {
    case VIREO_DOMAIN_EVENT_CALLBACK_LIFECYCLE: {
        MSG(callback_lifecycle);
        int e = m->msg.event, d = m->msg.detail;

        printf("event 'lifecycle' for domain '%s': %s %s\n", m->msg.dom.name, NAME(life, e),
               e >= 0 && e < 9 && d >= 0 && d < 8 && details[e][d] != NULL ? details[e][d]
                                                                           : "unknown");
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_REBOOT: {
        MSG(callback_reboot);
        printf("event 'reboot' for domain '%s'\n", m->msg.dom.name);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_RTC_CHANGE: {
        MSG(callback_rtc_change);
        printf("event 'rtc-change' for domain '%s': %" PRId64 "\n", m->msg.dom.name, m->msg.offset);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_WATCHDOG: {
        MSG(callback_watchdog);
        printf("event 'watchdog' for domain '%s': %s\n", m->msg.dom.name,
               NAME(watchdog, m->msg.action));
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_IO_ERROR: {
        MSG(callback_io_error);
        printf("event 'io-error' for domain '%s': %s (%s) %s\n", m->msg.dom.name, m->msg.srcPath,
               m->msg.devAlias, NAME(io_error, m->msg.action));
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_IO_ERROR_REASON: {
        MSG(callback_io_error_reason);
        printf("event 'io-error-reason' for domain '%s': %s (%s) %s due to %s\n", m->msg.dom.name,
               m->msg.srcPath, m->msg.devAlias, NAME(io_error, m->msg.action), m->msg.reason);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_GRAPHICS: {
        MSG(callback_graphics);
        printf("event 'graphics' for domain '%s': %s local[%s %s] remote[%s %s] %s\n",
               m->msg.dom.name, NAME(phase, m->msg.phase), m->msg.local.node, m->msg.local.service,
               m->msg.remote.node, m->msg.remote.service, m->msg.authScheme);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_CONTROL_ERROR: {
        MSG(callback_control_error);
        printf("event 'control-error' for domain '%s'\n", m->msg.dom.name);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_BLOCK_JOB: {
        MSG(callback_block_job);
        printf("event 'block-job' for domain '%s': %s for %s %s\n", m->msg.dom.name,
               NAME(job_types, m->msg.type_), m->msg.path, NAME(job_status, m->msg.status));
        break;
    }
    case VIREO_DOMAIN_EVENT_BLOCK_JOB_2: {
        MSG(block_job_2);
        printf("event 'block-job-2' for domain '%s': %s for %s %s\n", m->dom.name,
               NAME(job_types, m->type_), m->dst, NAME(job_status, m->status));
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_DISK_CHANGE: {
        MSG(callback_disk_change);
        printf("event 'disk-change' for domain '%s' disk %s: %s -> %s: %s\n", m->msg.dom.name,
               m->msg.devAlias, m->msg.oldSrcPath != NULL ? m->msg.oldSrcPath : "",
               m->msg.newSrcPath != NULL ? m->msg.newSrcPath : "",
               NAME(disk_change, m->msg.reason));
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_TRAY_CHANGE: {
        MSG(callback_tray_change);
        printf("event 'tray-change' for domain '%s' disk %s: %s\n", m->msg.dom.name,
               m->msg.devAlias, NAME(tray, m->msg.reason));
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_PMWAKEUP: {
        MSG(callback_pmwakeup);
        printf("event 'pm-wakeup' for domain '%s'\n", m->msg.dom.name);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_PMSUSPEND: {
        MSG(callback_pmsuspend);
        printf("event 'pm-suspend' for domain '%s'\n", m->msg.dom.name);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_PMSUSPEND_DISK: {
        MSG(callback_pmsuspend_disk);
        printf("event 'pm-suspend-disk' for domain '%s'\n", m->msg.dom.name);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_BALLOON_CHANGE: {
        MSG(callback_balloon_change);
        printf("event 'balloon-change' for domain '%s': %" PRIu64 "KiB\n", m->msg.dom.name,
               m->msg.actual);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_DEVICE_REMOVED: {
        MSG(callback_device_removed);
        printf("event 'device-removed' for domain '%s': %s\n", m->msg.dom.name, m->msg.devAlias);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_TUNABLE: {
        MSG(callback_tunable);
        printf("event 'tunable' for domain '%s':\n", m->dom.name);
        print_params(m->params, m->n_params);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE: {
        MSG(callback_agent_lifecycle);
        printf("event 'agent-lifecycle' for domain '%s': state: '%s' reason: '%s'\n", m->dom.name,
               NAME(agent_state, m->state), NAME(agent_reason, m->reason));
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_DEVICE_ADDED: {
        MSG(callback_device_added);
        printf("event 'device-added' for domain '%s': %s\n", m->dom.name, m->devAlias);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_MIGRATION_ITERATION: {
        MSG(callback_migration_iteration);
        printf("event 'migration-iteration' for domain '%s': iteration: '%d'\n", m->dom.name,
               m->iteration);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_JOB_COMPLETED: {
        MSG(callback_job_completed);
        printf("event 'job-completed' for domain '%s':\n", m->dom.name);
        print_params(m->params, m->n_params);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_DEVICE_REMOVAL_FAILED: {
        MSG(callback_device_removal_failed);
        printf("event 'device-removal-failed' for domain '%s': %s\n", m->dom.name, m->devAlias);
        break;
    }
    case VIREO_DOMAIN_EVENT_CALLBACK_METADATA_CHANGE: {
        MSG(callback_metadata_change);
        printf("event 'metadata-change' for domain '%s': type %s, uri %s\n", m->dom.name,
               NAME(metadata, m->type_), m->nsuri != NULL ? m->nsuri : "(null)");
        break;
    }
    case VIREO_DOMAIN_EVENT_BLOCK_THRESHOLD: {
        MSG(block_threshold);
        printf("event 'block-threshold' for domain '%s': dev: %s(%s) %" PRIu64 " %" PRIu64 "\n",
               m->dom.name, m->dev, m->path != NULL ? m->path : "(null)", m->threshold, m->excess);
        break;
    }
    case VIREO_DOMAIN_EVENT_MEMORY_FAILURE: {
        MSG(memory_failure);
        printf(
            "event 'memory-failure' for domain '%s':\nrecipient: %s\naction: %d\naction required: %d\nrecursive: %d\n",
            m->dom.name, m->recipient == 0 ? "hypervisor" : "guest", m->action, (m->flags & 1) != 0,
            (m->flags & 2) != 0);
        break;
    }
    case VIREO_DOMAIN_EVENT_MEMORY_DEVICE_SIZE_CHANGE: {
        MSG(memory_device_size_change);
        printf("event 'memory-device-size-change' for domain '%s':\nalias: %s\nsize: %" PRIu64 "\n",
               m->dom.name, m->alias, m->size);
        break;
    }
    default:
        break;
    }
}

static void print_other_event(int event, const void *msg)
{
    char uuid[37];

    switch (event) {
    case VIREO_NETWORK_EVENT_LIFECYCLE: {
        const struct vireo_network_event_lifecycle_msg *m = msg;

        printf("event 'lifecycle' for network %s: %s\n", m->net.name, NAME(plain_life, m->event));
        break;
    }
    case VIREO_STORAGE_POOL_EVENT_LIFECYCLE: {
        const struct vireo_storage_pool_event_lifecycle_msg *m = msg;

        printf("event 'lifecycle' for storage pool %s: %s\n", m->pool.name,
               NAME(plain_life, m->event));
        break;
    }
    case VIREO_STORAGE_POOL_EVENT_REFRESH: {
        const struct vireo_storage_pool_event_refresh_msg *m = msg;

        printf("event 'refresh' for storage pool %s\n", m->pool.name);
        break;
    }
    case VIREO_NODE_DEVICE_EVENT_LIFECYCLE: {
        const struct vireo_node_device_event_lifecycle_msg *m = msg;

        printf("event 'lifecycle' for node device %s: %s\n", m->dev.name,
               NAME(device_life, m->event));
        break;
    }
    case VIREO_NODE_DEVICE_EVENT_UPDATE: {
        const struct vireo_node_device_event_update_msg *m = msg;

        printf("event 'update' for node device %s\n", m->dev.name);
        break;
    }
    case VIREO_SECRET_EVENT_LIFECYCLE: {
        const struct vireo_secret_event_lifecycle_msg *m = msg;

        uuid_text(m->secret.uuid, uuid);
        printf("event 'lifecycle' for secret %s: %s\n", uuid, NAME(plain_life, m->event));
        break;
    }
    case VIREO_SECRET_EVENT_VALUE_CHANGED: {
        const struct vireo_secret_event_value_changed_msg *m = msg;

        uuid_text(m->secret.uuid, uuid);
        printf("event 'value-changed' for secret %s\n", uuid);
        break;
    }
    default:
        break;
    }
}

static void print_monitor_event(struct args *a, const struct vireo_domain_monitor_event_msg *m)
{
    (void)a;
    printf("event %s at %" PRId64 ".%06u for domain '%s': %s\n", m->event, m->seconds, m->micros,
           m->dom.name, m->details != NULL ? m->details : "");
}

static void on_event(void *arg, int qemu, int event, const void *msg)
{
    struct watch *w = arg;

    if (!w->loop && w->seen > 0) {
        return;
    }
    begin(w);
    if (qemu) {
        print_monitor_event(w->a, msg);
    } else {
        print_domain_event(event, msg);
        print_other_event(event, msg);
    }
    (void)fflush(stdout);
}

/* Until the event came, the time is over, or Ctrl-C. */
static int wait_events(struct shell *sh, struct args *a)
{
    struct watch w = { .a = a, .loop = arg_set(a, "loop"), .stamp = arg_set(a, "timestamp") };
    struct sigaction act = { .sa_handler = on_interrupt }, old;
    unsigned timeout = 0;
    time_t until;
    bool timed_out = false;
    int r = 0;

    if (arg_uint(a, "timeout", &timeout) < 0) {
        return -1;
    }
    until = time(NULL) + timeout;
    interrupted = 0;
    (void)sigaction(SIGINT, &act, &old);
    while (r >= 0 && !interrupted && (w.loop || w.seen == 0)) {
        r = vireo_connect_events(sh->conn, TICK_MS, on_event, &w);
        if (timeout > 0 && time(NULL) >= until) {
            timed_out = true;
            break;
        }
    }
    (void)sigaction(SIGINT, &old, NULL);
    if (timed_out) {
        printf("event loop timed out\n");
    } else if (interrupted) {
        printf("event loop interrupted\n");
    }
    printf("events received: %u\n", w.seen);
    return w.seen > 0 ? 0 : -1;
}

static int list_names(const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        printf("%s\n", names[i]);
    }
    return 0;
}

static int domain_event(struct shell *sh, struct args *a)
{
    const char *want = arg(a, "event");
    int32_t callbacks[CALLBACKS_MAX];
    AUTO_RET void *keep = NULL;
    struct vireo_domain d;
    unsigned n = 0;
    int r = 0;

    if (arg_exclusive(a, "all", "list")) {
        return -1;
    }
    if (arg_set(a, "list")) {
        return list_names(domain_events, DOMAIN_EVENTS);
    }
    if (want == NULL && !arg_set(a, "all")) {
        return error("one of --list, --all, or --event <type> is required");
    }
    if (arg(a, "domain") != NULL && find_domain(a, &d, &keep)) {
        return -1;
    }
    for (int i = 0; i < DOMAIN_EVENTS && r == 0; i++) {
        AUTO_RET struct vireo_connect_domain_event_callback_register_any_ret *ret = NULL;

        if (want != NULL && !str_eq(want, domain_events[i])) {
            continue;
        }
        r = vireo_connect_domain_event_callback_register_any(
            sh->conn, i, arg(a, "domain") != NULL ? &d : NULL, &ret);
        if (r == 0) {
            callbacks[n++] = ret->callbackID;
        } else if (want == NULL) {
            r = 0; /* a kind that this daemon does not know */
        }
    }
    if (n == 0) {
        return r < 0 ? fail_last() : error("unknown event type %s", want);
    }
    r = wait_events(sh, a);
    for (unsigned i = 0; i < n; i++) {
        (void)vireo_connect_domain_event_callback_deregister_any(sh->conn, callbacks[i]);
    }
    return r;
}

static const char *const lifecycle_only[] = { "lifecycle" };
static const char *const pool_events[] = { "lifecycle", "refresh" };
static const char *const device_events[] = { "lifecycle", "update" };
static const char *const secret_events[] = { "lifecycle", "value-changed" };

/* The number of the event that is asked for; -1 when all was said. */
static int which(struct args *a, const char *const *names, int n, int *ret)
{
    if (arg_set(a, "list")) {
        (void)list_names(names, (size_t)n);
        *ret = 0;
        return -1;
    }
    if (arg(a, "event") == NULL) {
        *ret = error("either --list or --event <type> is required");
        return -1;
    }
    for (int i = 0; i < n; i++) {
        if (str_eq(names[i], arg(a, "event"))) {
            return i;
        }
    }
    *ret = error("unknown event type %s", arg(a, "event"));
    return -1;
}

#define OTHER(fn, option, type, find, kind, names)                                     \
    static int fn(struct shell *sh, struct args *a)                                    \
    {                                                                                  \
        AUTO_RET struct vireo_connect_##kind##_event_register_any_ret *ret = NULL;     \
        AUTO_RET void *keep = NULL;                                                    \
        struct type object;                                                            \
        int r, event = which(a, names, (int)(sizeof(names) / sizeof(names[0])), &r);   \
                                                                                       \
        if (event < 0) {                                                               \
            return r;                                                                  \
        }                                                                              \
        if (arg(a, option) != NULL && find) {                                          \
            return -1;                                                                 \
        }                                                                              \
        if (vireo_connect_##kind##_event_register_any(                                 \
                sh->conn, event, arg(a, option) != NULL ? &object : NULL, &ret) < 0) { \
            return fail_last();                                                        \
        }                                                                              \
        r = wait_events(sh, a);                                                        \
        (void)vireo_connect_##kind##_event_deregister_any(sh->conn, ret->callbackID);  \
        return r;                                                                      \
    }

static int find_named_device(struct args *a, struct vireo_node_device *ret, void **keep)
{
    struct vireo_node_device_lookup_by_name_ret *r;

    if (vireo_node_device_lookup_by_name(a->sh->conn, arg(a, "device"), &r) < 0) {
        return fail("Could not find matching device '%s'", arg(a, "device"));
    }
    *keep = r;
    *ret = r->dev;
    return 0;
}

OTHER(network_event, "network", vireo_network, find_network(a, &object, &keep), network,
      lifecycle_only)
OTHER(pool_event, "pool", vireo_storage_pool, find_pool(a, "pool", &object, &keep), storage_pool,
      pool_events)
OTHER(device_event, "device", vireo_node_device, find_named_device(a, &object, &keep), node_device,
      device_events)
OTHER(secret_event, "secret", vireo_secret, find_secret(a, &object, &keep), secret, secret_events)

static int monitor_event(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_domain_monitor_event_register_ret *ret = NULL;
    AUTO_RET void *keep = NULL;
    struct vireo_domain d;
    uint32_t flags = (arg_set(a, "regex") ? 1u : 0) | (arg_set(a, "no-case") ? 2u : 0);
    int r;

    if (arg(a, "domain") != NULL && find_domain(a, &d, &keep)) {
        return -1;
    }
    if (vireo_connect_domain_monitor_event_register(sh->conn, arg(a, "domain") != NULL ? &d : NULL,
                                                    arg(a, "event"), flags, &ret) < 0) {
        return fail_last();
    }
    r = wait_events(sh, a);
    (void)vireo_connect_domain_monitor_event_deregister(sh->conn, ret->callbackID);
    return r;
}

const struct shell_command event_commands[] = {
    { "event", "domain event --all --loop timeout# --list --timestamp", domain_event,
      "wait for what happens to domains", false },
    { NULL, NULL, NULL, NULL, false },
};
const struct shell_command other_event_commands[] = {
    { "net-event", "network event --loop timeout# --list --timestamp", network_event,
      "wait for what happens to networks", false },
    { "nodedev-event", "device event --loop timeout# --list --timestamp", device_event,
      "wait for what happens to the host's devices", false },
    { "pool-event", "pool event --loop timeout# --list --timestamp", pool_event,
      "wait for what happens to pools", false },
    { "qemu-monitor-event", "domain event --pretty --loop timeout# --regex --no-case --timestamp",
      monitor_event, "wait for events of the emulator's monitor", false },
    { "secret-event", "secret event --loop timeout# --list --timestamp", secret_event,
      "wait for what happens to secrets", false },
    { NULL, NULL, NULL, NULL, false },
};
