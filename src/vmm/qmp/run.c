/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run.c - QMP commands about the run state (schema/run.json). */
#include "base/str.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/command.h"

#include <errno.h>
#include <stdio.h>

int qmp_do_query_status(struct machine *m, struct json_object *args, struct json_object **ret,
                        struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_object();
    (void)json_add_str(*ret, "status", run_state_name(m->state));
    (void)json_add_bool(*ret, "singlestep", false);
    (void)json_add_bool(*ret, "running", m->state == RUN_RUNNING);
    return 0;
}

int qmp_do_stop(struct machine *m, struct json_object *args, struct json_object **ret,
                struct err **err)
{
    (void)args;
    (void)ret;
    (void)err;
    machine_pause(m, RUN_PAUSED);
    return 0;
}

int qmp_do_cont(struct machine *m, struct json_object *args, struct json_object **ret,
                struct err **err)
{
    (void)args;
    (void)ret;
    return machine_run(m, err);
}

int qmp_do_set_action(struct machine *m, struct json_object *args, struct json_object **ret,
                      struct err **err)
{
    const char *reboot = NULL;
    const char *shutdown = NULL;
    const char *panic = json_str_or(args, "panic", NULL);
    const char *watchdog = json_str_or(args, "watchdog", NULL);

    (void)ret;
    (void)!json_get_str(args, "reboot", &reboot, NULL);
    (void)!json_get_str(args, "shutdown", &shutdown, NULL);
    if (reboot != NULL && !str_eq(reboot, "reset") && !str_eq(reboot, "shutdown")) {
        return err_set(err, EINVAL, "Invalid parameter '%s'", reboot);
    }
    if (shutdown != NULL && !str_eq(shutdown, "poweroff") && !str_eq(shutdown, "pause")) {
        return err_set(err, EINVAL, "Invalid parameter '%s'", shutdown);
    }
    if (panic != NULL && panic_action_parse(panic, &m->panic_action) < 0) {
        return err_set(err, EINVAL, "Invalid parameter '%s'", panic);
    }
    if (watchdog != NULL && watchdog_action_parse(watchdog, &m->watchdog_action) < 0) {
        return err_set(err, EINVAL, "Invalid parameter '%s'", watchdog);
    }
    if (reboot != NULL) {
        m->no_reboot = str_eq(reboot, "shutdown");
    }
    if (shutdown != NULL) {
        m->no_shutdown = str_eq(shutdown, "pause");
    }
    return 0;
}

int qmp_do_system_wakeup(struct machine *m, struct json_object *args, struct json_object **ret,
                         struct err **err)
{
    (void)args;
    (void)ret;
    return machine_wakeup(m, err);
}

int qmp_do_query_current_machine(struct machine *m, struct json_object *args,
                                 struct json_object **ret, struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_object();
    (void)json_add_bool(*ret, "wakeup-suspend-support", m->pm != NULL && !m->s3_off);
    return 0;
}

int qmp_do_query_memory_size_summary(struct machine *m, struct json_object *args,
                                     struct json_object **ret, struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_object();
    (void)json_add_u64(*ret, "base-memory", m->ram_bytes);
    (void)json_add_i64(*ret, "plugged-memory", 0);
    return 0;
}

int qmp_do_query_memory_devices(struct machine *m, struct json_object *args,
                                struct json_object **ret, struct err **err)
{
    (void)m;
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    return 0;
}

int qmp_do_inject_nmi(struct machine *m, struct json_object *args, struct json_object **ret,
                      struct err **err)
{
    (void)args;
    (void)ret;
    (void)err;
    for (unsigned i = 0; i < m->n_vcpus; i++) {
        vcpu_nmi(&m->vcpus[i]);
    }
    return 0;
}

int qmp_do_quit(struct machine *m, struct json_object *args, struct json_object **ret,
                struct err **err)
{
    (void)args;
    (void)ret;
    (void)err;
    machine_request_shutdown(m, CAUSE_HOST_QMP_QUIT);
    return 0;
}

int qmp_do_system_reset(struct machine *m, struct json_object *args, struct json_object **ret,
                        struct err **err)
{
    (void)args;
    (void)ret;
    (void)err;
    machine_request_reset(m, CAUSE_HOST_QMP_SYSTEM_RESET);
    return 0;
}

int qmp_do_system_powerdown(struct machine *m, struct json_object *args, struct json_object **ret,
                            struct err **err)
{
    (void)args;
    (void)ret;
    (void)err;
    machine_powerdown(m);
    return 0;
}

int qmp_do_query_name(struct machine *m, struct json_object *args, struct json_object **ret,
                      struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_object();
    if (m->name != NULL) {
        (void)json_add_str(*ret, "name", m->name);
    }
    return 0;
}

int qmp_do_query_uuid(struct machine *m, struct json_object *args, struct json_object **ret,
                      struct err **err)
{
    const uint8_t *u = m->uuid;
    char text[40];

    (void)args;
    (void)err;
    (void)snprintf(text, sizeof(text),
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0],
                   u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13],
                   u[14], u[15]);
    *ret = json_object_new_object();
    (void)json_add_str(*ret, "UUID", text);
    return 0;
}

int qmp_do_watchdog_set_action(struct machine *m, struct json_object *args,
                               struct json_object **ret, struct err **err)
{
    const char *action = json_str_or(args, "action", "");

    (void)ret;
    return watchdog_action_parse(action, &m->watchdog_action) < 0
               ? err_set(err, EINVAL, "Invalid parameter '%s'", action)
               : 0;
}
