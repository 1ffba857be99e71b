/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/migration.h"

#include "base/str.h"
#include "mgmt/driver/driver.h"
#include "mgmt/driver/qemu/blockjob.h"
#include "mgmt/driver/qemu/migrate.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/model/domain/domain.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/vfs.h>

enum { GFS2_MAGIC_NR = 0x01161970, CIFS_MAGIC_NR = (int)0xFF534D42, CEPH_MAGIC_NR = 0x00C36400 };

/* A file system that the other host can have mounted as well. */
static bool is_shared(const char *path)
{
    struct statfs s;

    if (statfs(path, &s) < 0) {
        return false;
    }
    switch ((unsigned)s.f_type) {
    case NFS_SUPER_MAGIC:
    case OCFS2_SUPER_MAGIC:
    case GFS2_MAGIC_NR:
    case (unsigned)CIFS_MAGIC_NR:
    case SMB_SUPER_MAGIC:
    case CEPH_MAGIC_NR:
    case FUSE_SUPER_MAGIC:
    case V9FS_MAGIC:
        return true;
    default:
        return false;
    }
}

static int check_disks(const struct domain *d, struct err **err)
{
    for (const struct node *k = node_child(domain_devices(d->def), "disk"); k != NULL;
         k = node_next(k, "disk")) {
        const char *file = node_get(k, "source/@file"), *cache = node_get(k, "driver/@cache");

        if (node_child(k, "source") == NULL || node_child(k, "readonly") != NULL ||
            node_is(k, "@type", "network")) {
            continue;
        }
        if (file != NULL && !is_shared(file)) {
            return fault(err, DOM_QEMU, MIGRATE_UNSAFE,
                         "Migration without shared storage is unsafe");
        }
        if (cache != NULL && !str_eq(cache, "none") && !str_eq(cache, "directsync") &&
            !str_eq(cache, "default")) {
            return fault(
                err, DOM_QEMU, MIGRATE_UNSAFE,
                "Migration may lead to data corruption if disks use cache other than none or directsync");
        }
    }
    return 0;
}

static int check(struct domain *d, const struct migration *m, struct err **err)
{
    if (m->flags & MIGRATE_OFFLINE) {
        return domain_active(d) ? fault(err, DOM_QEMU, OPERATION_INVALID,
                                        "cannot migrate an active domain offline")
                                : 0;
    }
    if (node_child(domain_devices(d->def), "hostdev") != NULL) {
        return fault(err, DOM_QEMU, OPERATION_INVALID, "domain has assigned non-USB host devices");
    }
    if (!list_empty(&d->snapshots)) {
        unsigned n = 0;

        LIST_FOREACH (&d->snapshots, it) {
            n++;
        }
        return fault(err, DOM_QEMU, OPERATION_INVALID, "cannot migrate domain with %u snapshots",
                     n);
    }
    if (!list_empty(&run_of(d)->block_jobs)) {
        return fault(err, DOM_QEMU, OPERATION_INVALID, "domain has active block job");
    }
    return m->flags & MIGRATE_UNSAFE ? 0 : check_disks(d, err);
}

int migration_begin(struct domain *d, const struct migration *m, char **ret_xml, char **ret_cookie,
                    struct err **err)
{
    CLEANUP(node_freep) struct node *copy = NULL;
    int r = m->flags & MIGRATE_OFFLINE ? 0 : domain_check_active(d, err);

    r = r == 0 ? check(d, m, err) : r;
    if (r < 0) {
        return r;
    }
    if (m->dest_xml != NULL) {
        *ret_xml = strdup(m->dest_xml);
    } else {
        copy = node_copy(d->def);
        if (copy != NULL) {
            (void)node_set(copy, "@id", NULL);
        }
        *ret_xml = copy != NULL ? node_to_xml(copy) : NULL;
    }
    *ret_cookie = migration_cookie(d);
    return *ret_xml != NULL && *ret_cookie != NULL ? 0 : -ENOMEM;
}

/* "tcp:host:port", "tcp://host:port" or "tls://...": the host alone, owned. */
static char *host_of(const char *uri)
{
    const char *s = strchr(uri, ':'), *end;

    if (s == NULL) {
        return NULL;
    }
    s += str_starts(s, "://") ? 3 : 1;
    if (*s == '[') {
        end = strchr(s, ']');
        return end != NULL ? strndup(s + 1, (size_t)(end - s - 1)) : NULL;
    }
    end = strrchr(s, ':');
    return end != NULL ? strndup(s, (size_t)(end - s)) : strdup(s);
}

/* As the emulator reads it. */
static char *emulator_uri(const char *uri)
{
    const char *slashes = strstr(uri, "://");
    size_t len = slashes != NULL ? strcspn(slashes + 3, "/?") : 0;

    return slashes != NULL
               ? str_format("%.*s:%.*s", (int)(slashes - uri), uri, (int)len, slashes + 3)
               : strdup(uri);
}

int migration_perform(struct domain *d, const struct migration *m, const char *cookie,
                      struct err **err)
{
    struct run *run = run_ref(run_of(d));
    bool was_running = d->state == STATE_RUNNING;
    AUTO_FREE char *uri = m->uri != NULL ? emulator_uri(m->uri) : NULL;
    AUTO_FREE char *host = m->uri != NULL ? host_of(m->uri) : NULL;
    int r = 0;

    if (uri == NULL) {
        r = fault(err, DOM_QEMU, INTERNAL_ERROR,
                  "the destination did not say where the stream goes (migrate_uri)");
    }
    r = r == 0 ? migration_check_cookie(d, cookie, err) : r;
    if (r == 0 && !(m->flags & MIGRATE_LIVE) && was_running) {
        r = process_pause(d, PAUSED_MIGRATION, SUSPENDED_MIGRATED, err);
    }
    r = r == 0 ? migration_set_up(d, m, false,
                                  m->tls_destination != NULL ? m->tls_destination : host, err)
               : r;
    if (r == 0) {
        run->stop_reason = PAUSED_MIGRATION;
        r = migrate_run(d, uri, "migration out", err);
        run->stop_reason = 0;
    }
    if (r == 0 && run->migration != MIGRATION_POSTCOPY) {
        run->migration = was_running ? MIGRATION_DONE_RUNNING : MIGRATION_DONE_PAUSED;
    } else if (r < 0 && run->domain != NULL && was_running && d->state == STATE_PAUSED) {
        (void)process_cont(d, RUNNING_MIGRATION_CANCELED, RESUMED_MIGRATED, NULL);
    }
    run_unref(run);
    return r;
}

int migration_confirm(struct domain *d, const struct migration *m, bool cancelled, struct err **err)
{
    int r = 0;

    if (m->flags & MIGRATE_OFFLINE) {
        r = 0;
    } else if (cancelled) {
        struct run *run = run_of(d);

        if (run != NULL && run->migration == MIGRATION_DONE_RUNNING && d->state == STATE_PAUSED) {
            r = process_cont(d, RUNNING_MIGRATION_CANCELED, RESUMED_MIGRATED, err);
        }
        if (run != NULL) {
            run->migration = MIGRATION_NONE;
            process_save(d);
        }
        return r;
    } else {
        bool undefine = d->persistent && (m->flags & MIGRATE_UNDEFINE_SOURCE);

        if (!domain_active(d)) {
            return fault(err, DOM_QEMU, OPERATION_INVALID, "guest unexpectedly quit");
        }
        if (run_of(d)->migration == MIGRATION_POSTCOPY) {
            r = migrate_wait(d, "migration out", err);
            if (r < 0) {
                return r;
            }
        }
        if (undefine) {
            domain_delete_config(d);
            d->persistent = false;
        }
        r = process_stop(d, SHUTOFF_MIGRATED, STOPPED_MIGRATED, err);
        if (undefine && r == 0) {
            domain_emit(d, EVENT_UNDEFINED, UNDEFINED_REMOVED);
        }
        return r;
    }
    if (!cancelled && d->persistent && (m->flags & MIGRATE_UNDEFINE_SOURCE)) {
        domain_delete_config(d);
        domain_emit(d, EVENT_UNDEFINED, UNDEFINED_REMOVED);
        domain_remove(d);
    }
    return r;
}
