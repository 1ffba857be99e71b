/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/machine/machine.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/str.h"
#include "block/core/block.h"
#include "vmm/accel/cpuid.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/chipset/acpi_pm.h"
#include "vmm/dev/device.h"
#include "vmm/dev/timer/mc146818.h"
#include "vmm/machine/class.h"
#include "vmm/machine/object.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void guard_enter(void *arg)
{
    machine_lock(arg);
}

static void guard_leave(void *arg)
{
    machine_unlock(arg);
}

void machine_lock(struct machine *m)
{
    (void)pthread_mutex_lock(&m->lock);
}

void machine_unlock(struct machine *m)
{
    (void)pthread_mutex_unlock(&m->lock);
}

int machine_new(struct loop *loop, struct machine **ret, struct err **err)
{
    CLEANUP(machine_freep) struct machine *m = calloc(1, sizeof(*m));

    if (m == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    m->loop = loop;
    m->received_fd = m->broker_fd = m->migration.fd = -1;
    m->max_bandwidth = 128 << 20;
    m->downtime_limit = 300;
    (void)pthread_mutex_init(&m->lock, NULL);
    (void)pthread_cond_init(&m->vcpus_cond, NULL);
    list_init(&m->devices);
    list_init(&m->listeners);
    list_init(&m->pci_buses);
    list_init(&m->ide_buses);
    list_init(&m->usb_buses);
    list_init(&m->scsi_buses);
    list_init(&m->inputs);
    list_init(&m->retries);
    boot_init(&m->boot);
    m->netdevs = hash_new();
    m->fsdevs = hash_new();
    m->chardevs = hash_new();
    m->blocks = hash_new();
    m->drives = hash_new();
    list_init(&m->jobs);
    m->objects = hash_new();
    if (m->netdevs == NULL || m->fsdevs == NULL || m->chardevs == NULL || m->blocks == NULL || m->drives == NULL ||
        m->objects == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    m->stop_requested = true;
    if (loop != NULL) {
        loop_set_guard(loop, guard_enter, guard_leave, m);
    }
    *ret = TAKE_PTR(m);
    return 0;
}

void machine_free_devices(struct machine *m)
{
    for (unsigned i = 0; i < m->n_vcpus && m->vcpus != NULL; i++) {
        vcpu_done(&m->vcpus[i]);
    }
    free(m->vcpus);
    m->vcpus = NULL;
    m->n_vcpus = 0;
    for (struct list *it = m->devices.prev; it != &m->devices;) {
        struct list *prev = it->prev;

        (void)device_free(CONTAINER_OF(it, struct device, link));
        it = prev;
    }
}

struct machine *machine_free(struct machine *m)
{
    if (m == NULL) {
        return NULL;
    }
    machine_free_devices(m);
    migrate_done(m);
    m->pci_root = pci_bus_free(m->pci_root);
    if (m->board != NULL) {
        if (m->cls->done != NULL) {
            m->cls->done(m);
        }
        opt_done(m->cls->opts, m->board);
    }
    free(m->board);
    (void)accel_free(m->accel);
    boot_done(&m->boot);
    gmem_done(&m->mem);
    (void)hash_free(m->netdevs);
    (void)hash_free(m->fsdevs);
    (void)hash_free(m->chardevs);
    (void)hash_free(m->blocks);
    (void)hash_free(m->drives);
    object_free_all(m);
    (void)hash_free(m->objects);
    for (unsigned i = 0; i < MACHINE_MAX_FDS; i++) {
        if (m->fds[i].name != NULL) {
            (void)machine_close_fd(m, m->fds[i].name);
        }
    }
    (void)cpu_model_free(m->cpu);
    free(m->name);
    free(m->type_name);
    for (unsigned i = 0; i < m->n_data_dirs; i++) {
        free(m->data_dirs[i]);
    }
    for (unsigned i = 0; i < m->n_allowed; i++) {
        free(m->allowed[i].path);
    }
    (void)pthread_cond_destroy(&m->vcpus_cond);
    (void)pthread_mutex_destroy(&m->lock);
    free(m);
    return NULL;
}

int machine_allow_path(struct machine *m, const char *path, bool write, struct err **err)
{
    char *copy = m->n_allowed < MACHINE_MAX_ALLOWED ? strdup(path) : NULL;

    if (copy == NULL) {
        return err_set(err, ENOSPC, "more than %d shared folders", MACHINE_MAX_ALLOWED);
    }
    m->allowed[m->n_allowed].path = copy;
    m->allowed[m->n_allowed++].write = write;
    return 0;
}

static void irq_to_accel(void *arg, unsigned gsi, int level)
{
    struct machine *m = arg;

    if (m->accel != NULL) {
        accel_set_irq(m->accel, gsi, level);
    } else if (m->irq_watch != NULL) {
        m->irq_watch(m->irq_watch_arg, gsi, level);
    }
}

struct irq machine_irq(struct machine *m, unsigned gsi)
{
    return (struct irq) { .set = irq_to_accel, .arg = m, .gsi = gsi };
}

int machine_map_memory(struct machine *m, uint64_t gpa, uint64_t size, void *host, bool read_only,
                       unsigned *ret_slot)
{
    for (unsigned i = 0; i < sizeof(m->memory_slots) * 8; i++) {
        uint64_t bit = 1ull << i % 64;
        int r;

        if ((m->memory_slots[i / 64] & bit) != 0) {
            continue;
        }
        r = m->accel != NULL ? accel_set_memory(m->accel, MACHINE_FIRST_SLOT + i, gpa, size, host,
                                                read_only, NULL)
                             : 0;
        if (r == 0) {
            m->memory_slots[i / 64] |= bit;
            *ret_slot = MACHINE_FIRST_SLOT + i;
        }
        return r;
    }
    return -ENOSPC;
}

void machine_unmap_memory(struct machine *m, unsigned slot)
{
    unsigned i = slot - MACHINE_FIRST_SLOT;

    if (m->accel != NULL) {
        (void)!accel_set_memory(m->accel, slot, 0, 0, NULL, false, NULL);
    }
    m->memory_slots[i / 64] &= ~(1ull << i % 64);
}

void machine_send_msi(struct machine *m, uint64_t address, uint32_t data)
{
    if (m->accel != NULL) {
        accel_send_msi(m->accel, address, data);
    } else if (m->irq_watch != NULL) {
        m->irq_watch(m->irq_watch_arg, data & 0xff, 1);
    }
}

int machine_take_fd(struct machine *m, const char *name)
{
    uint32_t number;

    if (str_to_u32(name, INT32_MAX, &number) == 0) {
        return (int)number;
    }
    for (unsigned i = 0; i < MACHINE_MAX_FDS; i++) {
        if (m->fds[i].name != NULL && str_eq(m->fds[i].name, name)) {
            free(m->fds[i].name);
            m->fds[i].name = NULL;
            return m->fds[i].fd;
        }
    }
    return -ENOENT;
}

bool machine_close_fd(struct machine *m, const char *name)
{
    for (unsigned i = 0; i < MACHINE_MAX_FDS; i++) {
        if (m->fds[i].name != NULL && str_eq(m->fds[i].name, name)) {
            free(m->fds[i].name);
            m->fds[i].name = NULL;
            (void)close(m->fds[i].fd);
            return true;
        }
    }
    return false;
}

int machine_start_vcpus(struct machine *m, struct err **err)
{
    for (unsigned i = 0; i < m->n_vcpus; i++) {
        int r = vcpu_start(&m->vcpus[i], err);

        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static const char *const cause_names[] = {
    [CAUSE_NONE] = "none",
    [CAUSE_HOST_ERROR] = "host-error",
    [CAUSE_HOST_QMP_QUIT] = "host-qmp-quit",
    [CAUSE_HOST_QMP_SYSTEM_RESET] = "host-qmp-system-reset",
    [CAUSE_HOST_SIGNAL] = "host-signal",
    [CAUSE_HOST_UI] = "host-ui",
    [CAUSE_GUEST_SHUTDOWN] = "guest-shutdown",
    [CAUSE_GUEST_RESET] = "guest-reset",
    [CAUSE_GUEST_PANIC] = "guest-panic",
};

static const char *const state_names[] = {
    [RUN_PRELAUNCH] = "prelaunch",
    [RUN_RUNNING] = "running",
    [RUN_PAUSED] = "paused",
    [RUN_SHUTDOWN] = "shutdown",
    [RUN_INTERNAL_ERROR] = "internal-error",
    [RUN_IO_ERROR] = "io-error",
    [RUN_WATCHDOG] = "watchdog",
    [RUN_INMIGRATE] = "inmigrate",
    [RUN_SUSPENDED] = "suspended",
    [RUN_POSTMIGRATE] = "postmigrate",
    [RUN_FINISH_MIGRATE] = "finish-migrate",
    [RUN_SAVE_VM] = "save-vm",
    [RUN_RESTORE_VM] = "restore-vm",
    [RUN_GUEST_PANICKED] = "guest-panicked",
    [RUN_DEBUG] = "debug",
};

const char *shutdown_cause_name(enum shutdown_cause cause)
{
    return cause_names[cause];
}

const char *run_state_name(enum run_state state)
{
    return state_names[state];
}

static bool cause_is_guest(enum shutdown_cause cause)
{
    return cause >= CAUSE_GUEST_SHUTDOWN;
}

void machine_listen(struct machine *m, struct machine_listener *l, machine_event_fn *fn, void *arg)
{
    l->fn = fn;
    l->arg = arg;
    list_append(&m->listeners, &l->link);
}

void machine_unlisten(struct machine_listener *l)
{
    if (l->fn != NULL) {
        list_remove(&l->link);
        l->fn = NULL;
    }
}

void machine_event(struct machine *m, const char *name, const char *json_fmt, ...)
{
    char data[1024];
    va_list ap;

    if (json_fmt != NULL) {
        va_start(ap, json_fmt);
        (void)vsnprintf(data, sizeof(data), json_fmt, ap);
        va_end(ap);
    }
    LIST_FOREACH_SAFE (&m->listeners, it) {
        struct machine_listener *l = CONTAINER_OF(it, struct machine_listener, link);

        l->fn(l->arg, name, json_fmt != NULL ? data : NULL);
    }
}

static bool state_may_run(enum run_state state)
{
    return state == RUN_PRELAUNCH || state == RUN_PAUSED || state == RUN_IO_ERROR ||
           state == RUN_WATCHDOG || state == RUN_POSTMIGRATE || state == RUN_FINISH_MIGRATE ||
           state == RUN_SAVE_VM || state == RUN_RESTORE_VM || state == RUN_DEBUG;
}

int machine_run(struct machine *m, struct err **err)
{
    if (m->state == RUN_RUNNING) {
        return 0;
    }
    if (!state_may_run(m->state)) {
        return err_set(err, EINVAL, "Resetting the Virtual Machine is required");
    }
    m->state = RUN_RUNNING;
    machine_event(m, "RESUME", NULL);
    LIST_FOREACH_SAFE (&m->retries, it) {
        list_remove(it);
        block_submit(CONTAINER_OF(it, struct block_req, link));
    }
    m->stop_requested = false;
    (void)pthread_cond_broadcast(&m->vcpus_cond);
    return 0;
}

void machine_retry(struct machine *m, struct block_req *req)
{
    list_init(&req->link);
    list_append(&m->retries, &req->link);
}

/* Firmware finds out by the shutdown byte in CMOS and PM1's status that this is no cold start. */
int machine_wakeup(struct machine *m, struct err **err)
{
    struct device *rtc = NULL;
    int r;

    if (m->state != RUN_SUSPENDED) {
        return err_set(err, EINVAL, "Unable to wake up: guest is not in suspended state");
    }
    LIST_FOREACH (&m->devices, it) {
        struct device *dev = CONTAINER_OF(it, struct device, link);

        if (str_eq(dev->cls->name, "mc146818rtc")) {
            rtc = dev;
        }
    }
    m->waking = true;
    r = machine_reset(m, CAUSE_NONE, err);
    m->waking = false;
    if (r == 0) {
        if (rtc != NULL) {
            rtc_set_nvram(rtc, 0x0f, 0xfe);
        }
        if (m->pm != NULL) {
            acpi_pm_wake(m->pm);
        }
        machine_event(m, "WAKEUP", NULL);
        m->state = RUN_PAUSED;
        r = machine_run(m, err);
    }
    return r;
}

void machine_pause(struct machine *m, enum run_state state)
{
    bool was_running = m->state == RUN_RUNNING;

    m->stop_requested = true;
    for (unsigned i = 0; i < m->n_vcpus; i++) {
        vcpu_kick(&m->vcpus[i]);
    }
    for (unsigned i = 0; i < m->n_vcpus; i++) {
        while (m->vcpus[i].started && !m->vcpus[i].parked) {
            (void)pthread_cond_wait(&m->vcpus_cond, &m->lock);
        }
    }
    if (was_running) {
        m->state = state;
        machine_event(m, "STOP", NULL);
    }
}

int machine_reset(struct machine *m, enum shutdown_cause cause, struct err **err)
{
    bool was_running = m->state == RUN_RUNNING;
    int r;

    m->stop_requested = true;
    for (unsigned i = 0; i < m->n_vcpus; i++) {
        vcpu_kick(&m->vcpus[i]);
    }
    for (unsigned i = 0; i < m->n_vcpus; i++) {
        while (m->vcpus[i].started && !m->vcpus[i].parked) {
            (void)pthread_cond_wait(&m->vcpus_cond, &m->lock);
        }
    }
    LIST_FOREACH (&m->devices, it) {
        struct device *dev = CONTAINER_OF(it, struct device, link);

        device_reset(dev);
    }
    if (m->waking) {
        /* RAM is as the sleeping guest left it, the firmware below 1 MiB included. */
        r = 0;
    } else {
        r = boot_load(&m->boot, &m->mem, err);
    }
    for (unsigned i = 0; i < m->n_vcpus && r == 0; i++) {
        r = vcpu_reset(&m->vcpus[i], err);
    }
    if (r == 0 && m->n_vcpus > 0) {
        r = vcpu_set_entry(&m->vcpus[0], &m->boot.entry, err);
    }
    if (r < 0) {
        m->state = RUN_INTERNAL_ERROR;
        return r;
    }
    if (cause != CAUSE_NONE) {
        machine_event(m, "RESET", "{\"guest\": %s, \"reason\": \"%s\"}",
                      cause_is_guest(cause) ? "true" : "false", shutdown_cause_name(cause));
    }
    if (was_running) {
        m->stop_requested = false;
        (void)pthread_cond_broadcast(&m->vcpus_cond);
    } else if (m->state == RUN_SHUTDOWN || m->state == RUN_INTERNAL_ERROR) {
        m->state = RUN_PAUSED;
    }
    return 0;
}

void machine_powerdown(struct machine *m)
{
    machine_event(m, "POWERDOWN", NULL);
    if (m->powerdown != NULL) {
        m->powerdown(m->powerdown_arg);
    }
}

static void serve_shutdown(struct machine *m, enum shutdown_cause cause)
{
    machine_event(m, "SHUTDOWN", "{\"guest\": %s, \"reason\": \"%s\"}",
                  cause_is_guest(cause) ? "true" : "false", shutdown_cause_name(cause));
    if (m->no_shutdown && cause_is_guest(cause)) {
        machine_pause(m, RUN_SHUTDOWN);
    } else {
        loop_quit(m->loop, 0);
    }
}

static const char *const watchdog_names[] = { "reset", "shutdown", "poweroff", "pause",
                                              "debug", "none",     "inject-nmi" };
static const char *const panic_names[] = { "shutdown", "pause", "exit-failure", "none" };

static int find_name(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(names[i], name)) {
            return (int)i;
        }
    }
    return -EINVAL;
}

int watchdog_action_parse(const char *name, enum watchdog_action *ret)
{
    int i = find_name(watchdog_names, sizeof(watchdog_names) / sizeof(watchdog_names[0]), name);

    if (i >= 0) {
        *ret = (enum watchdog_action)i;
    }
    return i < 0 ? i : 0;
}

int panic_action_parse(const char *name, enum panic_action *ret)
{
    int i = find_name(panic_names, sizeof(panic_names) / sizeof(panic_names[0]), name);

    if (i >= 0) {
        *ret = (enum panic_action)i;
    }
    return i < 0 ? i : 0;
}

static void go_on(struct machine *m)
{
    if (m->state == RUN_RUNNING) {
        m->stop_requested = false;
        (void)pthread_cond_broadcast(&m->vcpus_cond);
    }
}

static void serve_watchdog(struct machine *m)
{
    machine_event(m, "WATCHDOG", "{\"action\": \"%s\"}", watchdog_names[m->watchdog_action]);
    switch (m->watchdog_action) {
    case WATCHDOG_RESET:
        machine_request_reset(m, CAUSE_GUEST_RESET);
        break;
    case WATCHDOG_SHUTDOWN:
        machine_powerdown(m);
        go_on(m);
        break;
    case WATCHDOG_POWEROFF:
        loop_quit(m->loop, 0);
        break;
    case WATCHDOG_PAUSE:
    case WATCHDOG_DEBUG:
        machine_pause(m, RUN_WATCHDOG);
        break;
    case WATCHDOG_INJECT_NMI:
        for (unsigned i = 0; i < m->n_vcpus; i++) {
            vcpu_nmi(&m->vcpus[i]);
        }
        go_on(m);
        break;
    case WATCHDOG_NONE:
        go_on(m);
        break;
    }
}

static void serve_panic(struct machine *m)
{
    bool pause = m->panic_action == PANIC_PAUSE ||
                 (m->panic_action == PANIC_SHUTDOWN && m->no_shutdown);

    machine_event(m, "GUEST_PANICKED", "{\"action\": \"%s\"}",
                  pause                             ? "pause"
                  : m->panic_action == PANIC_NONE ? "run"
                                                  : "poweroff");
    if (pause) {
        machine_pause(m, RUN_GUEST_PANICKED);
    } else if (m->panic_action == PANIC_NONE) {
        go_on(m);
    } else {
        machine_event(m, "SHUTDOWN", "{\"guest\": true, \"reason\": \"guest-panic\"}");
        loop_quit(m->loop, m->panic_action == PANIC_EXIT_FAILURE ? 1 : 0);
    }
}

static void serve_requests(void *arg)
{
    struct machine *m = arg;
    enum shutdown_cause shutdown = m->shutdown_request;
    enum shutdown_cause reset = m->reset_request;
    CLEANUP(err_freep) struct err *err = NULL;

    m->request_posted = false;
    if (m->quitting) {
        return;
    }
    m->shutdown_request = CAUSE_NONE;
    m->reset_request = CAUSE_NONE;
    if (shutdown != CAUSE_NONE) {
        serve_shutdown(m, shutdown);
    } else if (m->error_request) {
        m->error_request = false;
        machine_pause(m, RUN_INTERNAL_ERROR);
        m->state = RUN_INTERNAL_ERROR;
        if (m->internal_error_exits) {
            loop_quit(m->loop, 1);
        }
    } else if (m->io_error_request) {
        m->io_error_request = false;
        machine_pause(m, RUN_IO_ERROR);
    } else if (m->debug_request) {
        m->debug_request = false;
        machine_pause(m, RUN_DEBUG);
        if (m->debug.stopped != NULL) {
            m->debug.stopped(m->debug.arg, m->debug_vcpu);
        }
    } else if (m->panic_request) {
        m->panic_request = false;
        serve_panic(m);
    } else if (m->watchdog_request) {
        m->watchdog_request = false;
        serve_watchdog(m);
    } else if (m->suspend_request) {
        m->suspend_request = false;
        machine_pause(m, RUN_SUSPENDED);
        machine_event(m, "SUSPEND", NULL);
    } else if (reset != CAUSE_NONE) {
        if (m->no_reboot && reset != CAUSE_HOST_QMP_SYSTEM_RESET) {
            serve_shutdown(m, reset);
        } else if (machine_reset(m, reset, &err) < 0) {
            log_error("cannot reset: %s", err->text);
            loop_quit(m->loop, 1);
        }
    }
}

/* Wakes the main loop, and keeps the vCPUs from going on with a machine that is about to stop. */
static void post_request(struct machine *m)
{
    if (!m->request_posted) {
        m->request_posted = loop_post(m->loop, serve_requests, m) == 0;
    }
    m->stop_requested = true;
    for (unsigned i = 0; i < m->n_vcpus; i++) {
        vcpu_kick(&m->vcpus[i]);
    }
}

void machine_request_shutdown(struct machine *m, enum shutdown_cause cause)
{
    TRACE(machine_shutdown_request, "%s", shutdown_cause_name(cause));
    m->shutdown_request = cause;
    post_request(m);
}

void machine_request_reset(struct machine *m, enum shutdown_cause cause)
{
    TRACE(machine_reset_request, "%s", shutdown_cause_name(cause));
    m->reset_request = cause;
    post_request(m);
}

void machine_request_internal_error(struct machine *m)
{
    m->error_request = true;
    post_request(m);
}

void machine_request_io_error(struct machine *m)
{
    m->io_error_request = true;
    post_request(m);
}

void machine_debug_hit(struct machine *m, unsigned vcpu)
{
    if (!m->debug_request) { /* one at a time: the others hit theirs again */
        m->debug_request = true;
        m->debug_vcpu = vcpu;
    }
    post_request(m);
}

void machine_guest_panicked(struct machine *m)
{
    m->panic_request = true;
    post_request(m);
}

void machine_watchdog(struct machine *m)
{
    m->watchdog_request = true;
    post_request(m);
}

void machine_request_suspend(struct machine *m)
{
    m->suspend_request = true;
    post_request(m);
}

void machine_quit(struct machine *m, int status)
{
    m->quitting = true;
    post_request(m);
    loop_quit(m->loop, status);
}
