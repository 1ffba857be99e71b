/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command.h - QMP commands: the table that scripts/gen-qmp.py makes of the schema, and their
 * handlers, one file an area. Main loop only.
 */
#pragma once

#include "base/err.h"
#include "codec/json.h"

#include <stdbool.h>

struct machine;

enum qmp_kind { QMP_STR, QMP_INT, QMP_BOOL, QMP_ANY };

struct qmp_arg {
    const char *name;
    enum qmp_kind kind;
    bool optional;
};

/* args is an object whose members were checked against the table. *ret: what "return" is to hold,
 * owned by the caller; left NULL it is {}. */
typedef int qmp_fn(struct machine *m, struct json_object *args, struct json_object **ret,
                   struct err **err);

struct qmp_command {
    const char *name;
    const struct qmp_arg *args; /* ends with .name == NULL */
    qmp_fn *fn;
    bool open; /* more members than the table's are for the handler to check */
};

extern const struct qmp_command qmp_commands[]; /* by name; ends with .name == NULL */
extern const char *const qmp_events[];
extern const char *const qmp_schema; /* the value of query-qmp-schema, as text */

/* The value of query-version, which the greeting shows too. */
struct json_object *qmp_version(void);

const struct qmp_command *qmp_command_find(const char *name);
/* Finds the command, checks the arguments, runs it. *ret_class: QMP's error class on failure. */
int qmp_dispatch(struct machine *m, const char *name, struct json_object *args,
                 struct json_object **ret, const char **ret_class, struct err **err);

/* schema/block.json */
qmp_fn qmp_do_query_block, qmp_do_query_blockstats, qmp_do_query_named_block_nodes,
    qmp_do_blockdev_add, qmp_do_blockdev_del, qmp_do_block_resize, qmp_do_block_set_io_throttle,
    qmp_do_eject, qmp_do_blockdev_open_tray, qmp_do_blockdev_close_tray,
    qmp_do_blockdev_remove_medium, qmp_do_blockdev_insert_medium, qmp_do_blockdev_change_medium;
/* schema/job.json */
qmp_fn qmp_do_query_jobs, qmp_do_query_block_jobs, qmp_do_job_pause, qmp_do_job_resume,
    qmp_do_job_cancel, qmp_do_job_complete, qmp_do_job_finalize, qmp_do_job_dismiss,
    qmp_do_block_job_pause, qmp_do_block_job_resume, qmp_do_block_job_cancel,
    qmp_do_block_job_complete, qmp_do_block_job_finalize, qmp_do_block_job_dismiss,
    qmp_do_block_job_set_speed, qmp_do_block_commit, qmp_do_block_stream, qmp_do_blockdev_mirror,
    qmp_do_drive_mirror, qmp_do_blockdev_backup, qmp_do_drive_backup, qmp_do_blockdev_create,
    qmp_do_blockdev_snapshot, qmp_do_blockdev_snapshot_sync, qmp_do_transaction,
    qmp_do_block_dirty_bitmap_add, qmp_do_block_dirty_bitmap_remove,
    qmp_do_block_dirty_bitmap_clear, qmp_do_block_dirty_bitmap_enable,
    qmp_do_block_dirty_bitmap_disable, qmp_do_block_dirty_bitmap_merge;
/* schema/cpu.json */
qmp_fn qmp_do_query_cpus_fast, qmp_do_query_hotpluggable_cpus, qmp_do_query_kvm,
    qmp_do_query_cpu_definitions, qmp_do_query_iothreads;
/* schema/device.json */
qmp_fn qmp_do_device_add, qmp_do_device_del, qmp_do_netdev_add, qmp_do_netdev_del,
    qmp_do_object_add, qmp_do_object_del, qmp_do_qom_list_types, qmp_do_qom_list_properties,
    qmp_do_device_list_properties, qmp_do_qom_list, qmp_do_qom_get, qmp_do_qom_set,
    qmp_do_query_pci, qmp_do_balloon, qmp_do_query_balloon;
/* schema/migration.json */
qmp_fn qmp_do_query_migrate_capabilities, qmp_do_migrate_set_capabilities, qmp_do_query_migrate,
    qmp_do_migrate, qmp_do_migrate_incoming, qmp_do_migrate_cancel, qmp_do_migrate_set_parameters,
    qmp_do_query_migrate_parameters, qmp_do_human_monitor_command;
/* schema/monitor.json */
qmp_fn qmp_do_qmp_capabilities, qmp_do_query_version, qmp_do_query_commands,
    qmp_do_query_qmp_schema, qmp_do_query_target, qmp_do_query_command_line_options, qmp_do_getfd,
    qmp_do_closefd, qmp_do_query_machines, qmp_do_query_chardev;
/* schema/nbd.json */
qmp_fn qmp_do_nbd_server_start, qmp_do_nbd_server_stop, qmp_do_nbd_server_add,
    qmp_do_nbd_server_remove, qmp_do_block_export_add, qmp_do_block_export_del,
    qmp_do_query_block_exports;
/* schema/run.json */
qmp_fn qmp_do_query_status, qmp_do_stop, qmp_do_cont, qmp_do_quit, qmp_do_system_reset,
    qmp_do_system_powerdown, qmp_do_query_name, qmp_do_query_uuid, qmp_do_set_action,
    qmp_do_system_wakeup, qmp_do_query_current_machine, qmp_do_query_memory_size_summary,
    qmp_do_query_memory_devices, qmp_do_inject_nmi, qmp_do_watchdog_set_action;
/* schema/ui.json */
qmp_fn qmp_do_screendump, qmp_do_send_key, qmp_do_input_send_event, qmp_do_query_vnc,
    qmp_do_set_password, qmp_do_add_client;
