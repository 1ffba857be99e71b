/* SPDX-License-Identifier: GPL-2.0-or-later */
/* driver.c - the qemu driver's table, and the operations that are a command or two. */
#include "mgmt/driver/driver.h"

#include "base/log.h"
#include "mgmt/driver/qemu/agent.h"
#include "mgmt/driver/qemu/calls.h"
#include "mgmt/driver/qemu/caps.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/driver/qemu/save.h"
#include "mgmt/model/domain/domain.h"
#include "mgmt/object/network.h"
#include "mgmt/object/nwfilter.h"
#include "mgmt/object/pool.h"
#include "mgmt/object/secret.h"
#include "mgmt/object/snapshot.h"
#include "os/fd.h"
#include "os/path.h"
#include "rpc/fault.h"

#include <errno.h>
#include <stdio.h>

enum { SHUTDOWN_ANSWER_USEC = 1000000 };
enum {
    SHUTDOWN_ACPI = 1,
    SHUTDOWN_AGENT = 2,
    SHUTDOWN_INITCTL = 4,
    SHUTDOWN_SIGNAL = 8,
    UNDEFINE_MANAGED_SAVE = 1,
    UNDEFINE_SNAPSHOTS = 2,
    UNDEFINE_NVRAM = 4,
    UNDEFINE_KEEP_NVRAM = 8,
    UNDEFINE_CHECKPOINTS = 16,
    UNDEFINE_TPM = 32,
    UNDEFINE_KEEP_TPM = 64,
    UNDEFINE_KNOWN = 127,
};

/* ---- definitions ---- */

static const char *machine_of(void *arg, const char *emulator, const char *type, const char *name)
{
    const struct emulator *e = emulator != NULL ? emulator_cached(arg, emulator) : NULL;
    const char *full = e != NULL ? emulator_machine(e, name) : NULL;

    (void)type;
    if (full != NULL || e == NULL) {
        return full;
    }
    /* An older machine than the emulator has: the newest of its kind runs such a guest as well. */
    if (str_starts(name, "pc-i440fx-")) {
        return emulator_machine(e, "pc");
    }
    return str_starts(name, "pc-q35-") ? emulator_machine(e, "q35") : NULL;
}

static const char *default_machine(void *arg, const char *emulator, const char *type)
{
    const struct emulator *e = emulator != NULL ? emulator_cached(arg, emulator) : NULL;

    (void)type;
    return e != NULL ? emulator_default_machine(e) : NULL;
}

static const char *default_cpu(void *arg, const char *emulator, const char *machine)
{
    (void)arg;
    (void)emulator;
    return machine != NULL && str_starts(machine, "microvm") ? NULL : "qemu64";
}

/* A display without a card gets one; libvirt's choice, cirrus, where the emulator has it. */
static int default_video(struct world *w, struct node *def, const char *path)
{
    const struct emulator *e = path != NULL ? emulator_cached(w, path) : NULL;
    struct node *devices = domain_devices(def), *v;

    if (e == NULL || devices == NULL || emulator_has_type(e, "cirrus-vga")) {
        return 0;
    }
    v = node_child(devices, "video");
    if (v == NULL && node_child(devices, "graphics") != NULL) {
        v = node_add(devices, "video");
        if (v == NULL) {
            return -ENOMEM;
        }
    }
    for (; v != NULL; v = node_next(v, "video")) {
        if (node_get(v, "model/@type") == NULL && node_set(v, "model/@type", "vga") < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static int complete(struct world *w, struct node *def, struct err **err)
{
    const char *type = node_attr(def, "type"), *emulator = node_get(def, "devices/emulator");
    const char *arch = node_get(def, "os/type/@arch");
    struct domain_facts f = { .arch = "x86_64",
                              .machine = machine_of,
                              .default_machine = default_machine,
                              .default_cpu = default_cpu,
                              .arg = w };

    if (type != NULL && !str_eq(type, "qemu") && !str_eq(type, "kvm")) {
        int r = domain_complete(def, &f, err); /* its own complaint comes first */

        return r < 0 ? r
                     : fault(err, DOM_NONE, INVALID_ARG,
                             "could not find capabilities for domaintype=%s ", type);
    }
    if (arch != NULL && !str_eq(arch, "x86_64") && !str_eq(arch, "i686")) {
        return fault(err, DOM_NONE, INVALID_ARG, "could not find capabilities for arch=%s ", arch);
    }
    f.emulator = caps_default_emulator(arch);
    if (emulator != NULL || f.emulator != NULL) {
        CLEANUP(err_freep) struct err *own = NULL;

        if (emulator_get(w, emulator != NULL ? emulator : f.emulator, &own) == NULL &&
            emulator != NULL) {
            return own != NULL ? err_set(err, own->code, "%s", own->text) : -ENOMEM;
        }
    }
    if (default_video(w, def, emulator != NULL ? emulator : f.emulator) < 0) {
        return -ENOMEM;
    }
    return domain_complete(def, &f, err);
}

/* ---- life cycle ---- */

static char *managed_save_path(struct domain *d)
{
    return str_format("%s/qemu/save/%s.save", d->world->lib_dir, d->name);
}

static int start(struct domain *d, unsigned flags, struct err **err)
{
    struct start_spec spec = { .paused = (flags & START_PAUSED) != 0,
                               .incoming_fd = -1,
                               .running_reason = RUNNING_BOOTED,
                               .started_detail = STARTED_BOOTED };

    if (d->has_managed_save) {
        AUTO_FREE char *path = managed_save_path(d);

        if (path == NULL) {
            return -ENOMEM;
        }
        if (flags & START_FORCE_BOOT) {
            (void)unlink(path);
            d->has_managed_save = false;
        } else {
            int r = save_restore(d, path, flags, err);

            if (r == 0) {
                (void)unlink(path);
                d->has_managed_save = false;
            }
            return r;
        }
    }
    return process_start(d, &spec, err);
}

static int destroy(struct domain *d, struct err **err)
{
    return process_stop(d, SHUTOFF_DESTROYED, STOPPED_DESTROYED, err);
}

static int suspend(struct domain *d, struct err **err)
{
    int r;

    if (d->state == STATE_PMSUSPENDED) {
        return fault(err, DOM_QEMU, OPERATION_INVALID, "domain is pmsuspended");
    }
    if (d->state == STATE_PAUSED) {
        return 0;
    }
    r = process_pause(d, PAUSED_USER, SUSPENDED_PAUSED, err);
    process_save(d);
    return r;
}

static int resume(struct domain *d, struct err **err)
{
    int r;

    if (d->state == STATE_PMSUSPENDED) {
        return fault(err, DOM_QEMU, OPERATION_INVALID, "domain is pmsuspended");
    }
    if (d->state == STATE_RUNNING) {
        return 0;
    }
    r = process_cont(d, RUNNING_UNPAUSED, RESUMED_UNPAUSED, err);
    process_save(d);
    return r;
}

static int agent_shutdown(struct domain *d, const char *mode, struct err **err)
{
    CLEANUP(err_freep) struct err *own = NULL;
    struct json_object *a = json_object_new_object();
    struct run *run = run_ref(run_of(d));
    bool obeyed;
    int r;

    (void)json_add_str(a, "mode", mode);
    r = agent_run_wait(d, "guest-shutdown", a, SHUTDOWN_ANSWER_USEC, NULL, &own);
    /* An agent that obeys does not answer this one. */
    obeyed = r == 0 || (run->agent_connected && own != NULL &&
                        fault_kind(own->code) == FAULT_AGENT_UNRESPONSIVE);
    run_unref(run);
    return obeyed ? 0
                  : err_set(err, own != NULL ? own->code : -r, "%s",
                            own != NULL ? own->text : strerror(-r));
}

static int shut_down(struct domain *d, unsigned flags, struct err **err)
{
    if (d->state != STATE_RUNNING && !(flags & SHUTDOWN_AGENT)) {
        if (d->state != STATE_PAUSED) {
            return fault(err, DOM_DOMAIN, OPERATION_INVALID, "domain is not running");
        }
    }
    if (flags & ~(unsigned)(SHUTDOWN_ACPI | SHUTDOWN_AGENT)) {
        return fault(err, DOM_NONE, INVALID_ARG, "unsupported flags (0x%x) in function %s",
                     flags & ~(unsigned)(SHUTDOWN_ACPI | SHUTDOWN_AGENT),
                     "qemuDomainShutdownFlags");
    }
    run_of(d)->reboot_wanted = false;
    if ((flags & SHUTDOWN_AGENT) ||
        (flags == 0 && run_of(d)->agent_connected && d->state == STATE_RUNNING)) {
        if (agent_shutdown(d, "powerdown", flags & SHUTDOWN_ACPI || flags == 0 ? NULL : err) == 0) {
            return 0;
        }
        if (!(flags & SHUTDOWN_ACPI) && flags != 0) {
            return err != NULL && *err != NULL ? -(*err)->code : -EIO;
        }
    }
    return monitor_run(run_of(d)->qmp, "system_powerdown", NULL, NULL, err);
}

static int reboot(struct domain *d, unsigned flags, struct err **err)
{
    if (flags & SHUTDOWN_AGENT) {
        return agent_shutdown(d, "reboot", err);
    }
    run_of(d)->reboot_wanted = true;
    return monitor_run(run_of(d)->qmp, "system_powerdown", NULL, NULL, err);
}

static int reset(struct domain *d, struct err **err)
{
    return monitor_run(run_of(d)->qmp, "system_reset", NULL, NULL, err);
}

static void usage(struct domain *d, uint64_t *ret_cpu_nsec, uint64_t *ret_mem_kib)
{
    AUTO_FREE char *text = NULL;
    char path[64], *p;
    unsigned long long user = 0, sys = 0;
    size_t n;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)run_of(d)->pid);
    if (file_slurp(path, 4096, &text, &n) == 0 && (p = strrchr(text, ')')) != NULL &&
        sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &sys) == 2) {
        *ret_cpu_nsec = (user + sys) * (1000000000ull / (unsigned long long)sysconf(_SC_CLK_TCK));
    }
    *ret_mem_kib = node_get_u64(d->def, "currentMemory", *ret_mem_kib);
}

static int undefine(struct domain *d, unsigned flags, struct err **err)
{
    const char *nvram = node_get(domain_config(d), "os/nvram");

    if (flags & ~(unsigned)UNDEFINE_KNOWN) {
        return fault(err, DOM_NONE, INVALID_ARG, "unsupported flags (0x%x) in function %s",
                     flags & ~(unsigned)UNDEFINE_KNOWN, "qemuDomainUndefineFlags");
    }
    if (!list_empty(&d->snapshots) && !domain_active(d)) {
        if (!(flags & UNDEFINE_SNAPSHOTS)) {
            unsigned n = 0;

            LIST_FOREACH (&d->snapshots, it) {
                n++;
            }
            return fault(err, DOM_QEMU, OPERATION_INVALID,
                         "cannot delete inactive domain with %u snapshots", n);
        }
        LIST_FOREACH_SAFE (&d->snapshots, it) {
            struct snapshot *s = CONTAINER_OF(it, struct snapshot, link);

            snapshot_unlink(s, false);
            snapshot_remove(s);
        }
    }
    if (!list_empty(&d->checkpoints) && !domain_active(d)) {
        if (!(flags & UNDEFINE_CHECKPOINTS)) {
            unsigned n = 0;

            LIST_FOREACH (&d->checkpoints, it) {
                n++;
            }
            return fault(err, DOM_QEMU, OPERATION_INVALID,
                         "cannot delete inactive domain with %u checkpoints", n);
        }
        LIST_FOREACH_SAFE (&d->checkpoints, it) {
            struct snapshot *s = CONTAINER_OF(it, struct snapshot, link);

            snapshot_unlink(s, true);
            snapshot_remove(s);
        }
    }
    if (d->has_managed_save) {
        AUTO_FREE char *path = managed_save_path(d);

        if (!(flags & UNDEFINE_MANAGED_SAVE)) {
            return fault(err, DOM_QEMU, OPERATION_INVALID,
                         "Refusing to undefine while domain managed save image exists");
        }
        if (path != NULL && unlink(path) < 0 && errno != ENOENT) {
            return fault(err, DOM_QEMU, INTERNAL_ERROR,
                         "Failed to remove domain managed save image");
        }
        d->has_managed_save = false;
    }
    if (nvram != NULL && *nvram != '\0' && path_exists(nvram)) {
        if (flags & UNDEFINE_NVRAM) {
            if (unlink(nvram) < 0) {
                return err_set(err, errno, "failed to remove nvram: %s", nvram);
            }
        } else if (!(flags & UNDEFINE_KEEP_NVRAM)) {
            return fault(err, DOM_QEMU, OPERATION_INVALID, "cannot undefine domain with nvram");
        }
    }
    return 0;
}

static unsigned long version(struct world *w)
{
    const char *path = caps_default_emulator("x86_64");
    const struct emulator *e = path != NULL ? emulator_get(w, path, NULL) : NULL;

    return e != NULL ? e->version : 0;
}

static void autostart_all(struct world *w)
{
    LIST_FOREACH_SAFE (&w->domains, it) {
        struct domain *d = CONTAINER_OF(it, struct domain, link);
        CLEANUP(err_freep) struct err *err = NULL;

        if (!d->autostart || domain_active(d)) {
            continue;
        }
        domain_ref(d);
        if (domain_job_begin(d, "autostart", &err) == 0) {
            if (start(d, 0, &err) < 0) {
                log_warn("domain '%s' is not started: %s", d->name, err != NULL ? err->text : "");
            }
            domain_job_end(d);
        }
        domain_unref(d);
    }
}

/* What waits: running emulators are asked, networks and domains are started. */
static void begin(void *arg)
{
    struct world *w = arg;

    process_adopt_all(w);
    network_autostart_all(w);
    autostart_all(w);
}

static int open_world(struct world *w, struct err **err)
{
    int r;

    secrets_load_all(w);
    nwfilters_load_all(w);
    pool_load_all(w);
    network_load_all(w);
    r = domain_load_all(w, err);
    if (r < 0) {
        return r;
    }
    LIST_FOREACH (&w->domains, it) {
        snapshot_load_all(CONTAINER_OF(it, struct domain, link));
    }
    begin(w);
    return 0;
}

const struct driver driver_qemu = {
    .scheme = "qemu",
    .type = "QEMU",
    .fault_domain = DOM_QEMU,
    .calls = &qemu_calls,
    .qemu_calls = &qemu_own_calls,
    .open = open_world,
    .version = version,
    .capabilities = caps_host,
    .domain_capabilities = caps_domain,
    .complete = complete,
    .start = start,
    .destroy = destroy,
    .suspend = suspend,
    .resume = resume,
    .shutdown = shut_down,
    .reboot = reboot,
    .reset = reset,
    .usage = usage,
    .undefine = undefine,
    .managed_save_path = managed_save_path,
};
