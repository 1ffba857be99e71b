/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/process.h"

#include "base/log.h"
#include "base/str.h"
#include "mgmt/driver/driver.h"
#include "mgmt/driver/qemu/blockjob.h"
#include "mgmt/driver/qemu/cmdline.h"
#include "mgmt/driver/qemu/events.h"
#include "mgmt/driver/qemu/ports.h"
#include "mgmt/driver/qemu/stats.h"
#include "mgmt/model/domain/domain.h"
#include "mgmt/model/schema.h"
#include "mgmt/object/files.h"
#include "mgmt/object/network.h"
#include "mgmt/server/lock.h"
#include "mgmt/server/server.h"
#include "mgmt/server/worker.h"
#include "os/fd.h"
#include "os/loop.h"
#include "os/path.h"
#include "os/process.h"
#include "rpc/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

enum {
    GRACE_USEC = 5000000, /* between SIGTERM and SIGKILL */
    KILLED_USEC = 15000000,
    GREETING_USEC = 30000000,
    LOG_TAIL = 1024,
};

struct run *run_new(struct domain *d)
{
    struct run *r = calloc(1, sizeof(*r));

    if (r != NULL) {
        r->refs = 1;
        r->domain = d;
        r->pid = -1;
        lock_cond_init(&r->changed);
        list_init(&r->pending);
        list_init(&r->block_jobs);
        list_init(&r->net_names);
    }
    return r;
}

struct run *run_ref(struct run *r)
{
    r->refs++;
    return r;
}

struct run *run_unref(struct run *r)
{
    if (r == NULL || --r->refs > 0) {
        return NULL;
    }
    blockjob_forget(r);
    free(r->agent_path);
    free(r->dir);
    free(r->monitor_path);
    stats_free(r->stats);
    node_free(r->backup);
    free(r->backup_why);
    pthread_cond_destroy(&r->changed);
    free(r);
    return NULL;
}

static unsigned long long start_time_of(pid_t pid)
{
    AUTO_FREE char *text = NULL;
    char path[64], *p;
    size_t n;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (file_slurp(path, 4096, &text, &n) < 0) {
        return 0;
    }
    p = strrchr(text, ')');
    for (int field = 2; p != NULL && field < 22; field++) {
        p = strchr(p + 1, ' ');
    }
    return p != NULL ? strtoull(p + 1, NULL, 10) : 0;
}

static char *status_path(const struct domain *d)
{
    return str_format("%s/%s/%s.xml", d->world->run_dir, d->world->driver->scheme, d->name);
}

void process_save(struct domain *d)
{
    struct run *r = run_of(d);
    AUTO_FREE char *path = d->world != NULL ? status_path(d) : NULL;
    CLEANUP(node_freep) struct node *n = node_new(&schema_domstatus, "domstatus");
    struct node *copy;

    if (r == NULL || path == NULL || n == NULL) {
        return;
    }
    (void)node_setf(n, "@state", "%d", (int)d->state);
    (void)node_setf(n, "@reason", "%d", d->reason);
    (void)node_setf(n, "@pid", "%d", (int)r->pid);
    (void)node_setf(n, "@start", "%llu", r->start_time);
    (void)node_setf(n, "@id", "%d", d->id);
    (void)node_set(n, "@persistent", d->persistent ? "yes" : "no");
    (void)node_setf(n, "@vnc", "%u", r->vnc_port);
    (void)node_set(n, "monitor/@path", r->monitor_path);
    if (r->agent_path != NULL) {
        (void)node_set(n, "agent/@path", r->agent_path);
    }
    (void)node_setf(n, "job/@operation", "%u", r->next_node);
    blockjobs_write(r, n);
    copy = r->backup != NULL ? node_copy(r->backup) : NULL;
    if (copy != NULL) {
        node_insert(n, copy);
    }
    copy = node_copy(d->def);
    if (copy != NULL) {
        CLEANUP(err_freep) struct err *err = NULL;

        node_insert(n, copy);

        if (files_write_node(path, n, &err) < 0) {
            log_warn("domain '%s': a restart of the daemon will not find it: %s", d->name,
                     err->text);
        }
    }
}

/* ---- the end ---- */

static int end_nics(struct domain *d)
{
    for (struct node *n = node_child(domain_devices(d->def), "interface"); n != NULL;
         n = node_next(n, "interface")) {
        if (node_is(n, "@type", "network")) {
            network_leave(d->world, n);
        }
    }
    return 0;
}

static void remove_folder(const char *dir)
{
    static const char *const names[] = { "monitor.sock", "org.qemu.guest_agent.0", "vnc.sock",
                                         "swtpm.sock" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        AUTO_FREE char *p = str_format("%s/%s", dir, names[i]);

        if (p != NULL) {
            (void)unlink(p);
        }
    }
    (void)rmdir(dir);
}

void process_ended(struct run *r, int shutoff_reason, int stopped_detail)
{
    struct domain *d = r->domain;
    AUTO_FREE char *path = NULL;
    struct server *server;

    if (d == NULL) {
        return;
    }
    domain_ref(d);
    r->domain = NULL;
    path = status_path(d);
    if (path != NULL) {
        (void)unlink(path);
    }
    r->child = loop_source_free(r->child);
    r->qmp = monitor_free(r->qmp);
    r->agent = monitor_free(r->agent);
    ports_give_back(r->vnc_port);
    ports_give_back(r->spice_port);
    ports_give_back(r->backup_port);
    ports_give_back(r->migrate_port);
    (void)end_nics(d);
    if (r->dir != NULL) {
        remove_folder(r->dir);
    }
    domain_set_state(d, STATE_SHUTOFF, shutoff_reason);
    d->world->n_active--;
    if (stopped_detail >= 0) {
        domain_emit(d, EVENT_STOPPED, stopped_detail);
    }
    d->id = -1;
    d->run = NULL;
    d->autodestroy = NULL;
    (void)node_set(d->def, "@id", NULL);
    pthread_cond_broadcast(&r->changed);
    server = d->world->server;
    if (d->next != NULL) {
        node_free(d->def);
        d->def = TAKE_PTR(d->next);
    }
    if (!d->persistent) {
        domain_remove(d);
    }
    server_check_idle(server);
    domain_unref(d);
    run_unref(r);
}

static void on_exit_fd(int fd, uint32_t events, void *arg)
{
    struct run *r = arg;
    int status;

    (void)fd;
    (void)events;
    (void)waitpid(r->pid, &status, WNOHANG);
    if (r->ending) {
        /* Whoever ends it says why. */
        r->child = loop_source_free(r->child);
        r->pid = -1;
        pthread_cond_broadcast(&r->changed);
        return;
    }
    if (r->saw_shutdown) {
        process_ended(r, SHUTOFF_SHUTDOWN, STOPPED_SHUTDOWN);
    } else {
        process_ended(r, SHUTOFF_CRASHED, STOPPED_FAILED);
    }
}

static int watch_exit(struct run *r, struct loop *loop)
{
    int fd = (int)syscall(SYS_pidfd_open, r->pid, 0), result;

    if (fd < 0) {
        return -errno;
    }
    result = loop_add_fd(loop, fd, EPOLLIN, on_exit_fd, r, &r->child);
    if (result < 0) {
        (void)close(fd);
    }
    return result; /* the descriptor stays open with the source: one for each running domain */
}

static void monitor_gone(void *arg)
{
    struct run *r = arg;

    /* The process follows at once; its exit is what counts. */
    if (r->child == NULL && r->pid > 0 && kill(r->pid, 0) < 0) {
        process_ended(r, r->saw_shutdown ? SHUTOFF_SHUTDOWN : SHUTOFF_CRASHED,
                      r->saw_shutdown ? STOPPED_SHUTDOWN : STOPPED_FAILED);
    }
}

/* SIGTERM, then SIGKILL; false when even that does not end it. */
static bool end_process(struct run *r)
{
    uint64_t grace = loop_now_usec() + GRACE_USEC;

    if (r->pid <= 0) {
        return true;
    }
    r->ending = true;
    (void)kill(r->pid, SIGTERM);
    while (r->pid > 0 && r->domain != NULL && lock_wait(&r->changed, grace)) {
    }
    if (r->pid > 0 && r->domain != NULL) {
        uint64_t until = loop_now_usec() + KILLED_USEC;

        (void)kill(r->pid, SIGKILL);
        while (r->pid > 0 && r->domain != NULL && lock_wait(&r->changed, until)) {
        }
    }
    return r->pid <= 0 || r->domain == NULL;
}

int process_stop(struct domain *d, int shutoff_reason, int stopped_detail, struct err **err)
{
    struct run *r = run_of(d);

    if (r == NULL) {
        return fault(err, DOM_DOMAIN, OPERATION_INVALID, "domain is not running");
    }
    run_ref(r);
    if (!end_process(r)) {
        run_unref(r);
        return fault(err, DOM_QEMU, SYSTEM_ERROR, "Failed to terminate process %d with SIGKILL",
                     (int)r->pid);
    }
    process_ended(r, shutoff_reason, stopped_detail);
    run_unref(r);
    return 0;
}

/* ---- the start ---- */

static int listen_monitor(struct run *r, int *ret_listen, int *ret_connected, struct err **err)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    AUTO_FD int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    AUTO_FD int c = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(r->monitor_path) >= sizeof(sa.sun_path)) {
        return fault(err, DOM_QEMU, INTERNAL_ERROR, "UNIX socket path '%s' too long",
                     r->monitor_path);
    }
    memcpy(sa.sun_path, r->monitor_path, strlen(r->monitor_path) + 1);
    (void)unlink(r->monitor_path);
    if (l < 0 || c < 0 || bind(l, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(l, 1) < 0 ||
        connect(c, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
        return err_set(err, errno, "cannot make the monitor's socket '%s': %s", r->monitor_path,
                       strerror(errno));
    }
    *ret_listen = TAKE_FD(l);
    *ret_connected = TAKE_FD(c);
    return 0;
}

static int open_monitor(struct run *r, int fd, struct err **err)
{
    struct monitor_spec spec = { .loop = r->domain->world->server->loop,
                                 .fd = fd,
                                 .fault_domain = DOM_QEMU,
                                 .event = events_take,
                                 .closed = monitor_gone,
                                 .arg = r };

    return monitor_new(&spec, &r->qmp, err);
}

static int log_fd(const struct domain *d, char **ret_path)
{
    AUTO_FREE char *dir = str_format("%s/qemu", d->world->log_dir);

    if (dir == NULL || path_make_folders(dir, 0755, NULL) < 0) {
        return -1;
    }
    *ret_path = str_format("%s/%s.log", dir, d->name);
    return *ret_path != NULL ? open(*ret_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
                             : -1;
}

/* What the emulator complained about: the end of its log. */
static char *log_tail(const char *path, off_t from)
{
    AUTO_FD int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char buf[LOG_TAIL + 1];
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
    ssize_t n;

    if (end <= from) {
        return strdup("");
    }
    if (end - from > LOG_TAIL) {
        from = end - LOG_TAIL;
    }
    n = pread(fd, buf, LOG_TAIL, from);
    buf[n > 0 ? n : 0] = '\0';
    while (n > 0 && buf[n - 1] == '\n') {
        buf[--n] = '\0';
    }
    return strdup(buf);
}

static int compare_int(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int spawn(struct run *r, struct cmdline *c, char **ret_log, off_t *ret_at, struct err **err)
{
    AUTO_FD int log = log_fd(r->domain, ret_log);
    struct process_spec spec = { .argv = (const char *const *)c->argv,
                                 .fd_in = -1,
                                 .fd_out = log,
                                 .fd_err = log,
                                 .keep = c->fds,
                                 .n_keep = c->n_fds,
                                 .env = (const char *const *)c->env,
                                 .new_session = true };

    qsort(c->fds, c->n_fds, sizeof(int), compare_int);
    if (log >= 0) {
        dprintf(log, "%s", c->emulator->path);
        for (unsigned i = 1; i < c->n; i++) {
            dprintf(log, c->argv[i][0] == '-' ? " \\\n%s" : " %s", c->argv[i]);
        }
        dprintf(log, "\n");
        *ret_at = lseek(log, 0, SEEK_END);
    }
    return process_spawn(&spec, &r->pid, err);
}

/* Paths of terminals, threads of vCPUs: what only the running emulator knows. */
static int read_back(struct domain *d, struct err **err)
{
    static const char *const kinds[] = { "serial", "parallel", "console", "channel" };
    struct run *r = run_of(d);
    AUTO_JSON struct json_object *chars = NULL;
    AUTO_JSON struct json_object *cpus = NULL;
    struct node *devices = domain_devices(d->def);
    int result = monitor_run(r->qmp, "query-chardev", NULL, &chars, err);

    if (result < 0) {
        return result;
    }
    for (size_t i = 0; i < json_object_array_length(chars); i++) {
        struct json_object *o = json_object_array_get_idx(chars, i);
        const char *label, *file;

        if (json_get_str(o, "label", &label, NULL) < 0 ||
            json_get_str(o, "filename", &file, NULL) < 0 || !str_starts(file, "pty:") ||
            !str_starts(label, "char")) {
            continue;
        }
        for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
            for (struct node *n = node_child(devices, kinds[k]); n != NULL;
                 n = node_next(n, kinds[k])) {
                if (node_is(n, "alias/@name", label + 4)) {
                    (void)node_set(n, "source/@path", file + 4);
                    if (k == 2) {
                        (void)node_set(n, "@tty", file + 4);
                    }
                }
            }
        }
    }
    result = monitor_run(r->qmp, "query-cpus-fast", NULL, &cpus, err);
    if (result < 0) {
        return result;
    }
    r->n_vcpu_pids = 0;
    for (size_t i = 0; i < json_object_array_length(cpus) && i < VCPUS_TRACKED_MAX; i++) {
        int64_t tid = 0;

        tid = json_i64_or(json_object_array_get_idx(cpus, i), "thread-id", tid);
        r->vcpu_pids[r->n_vcpu_pids++] = (pid_t)tid;
    }
    return 0;
}

static int set_passwords(struct domain *d, struct err **err)
{
    for (struct node *g = node_child(domain_devices(d->def), "graphics"); g != NULL;
         g = node_next(g, "graphics")) {
        struct json_object *a;
        int r;

        if (node_attr(g, "passwd") == NULL) {
            continue;
        }
        a = json_object_new_object();
        (void)json_add_str(a, "protocol", node_attr(g, "type"));
        (void)json_add_str(a, "password", node_attr(g, "passwd"));
        r = monitor_run(run_of(d)->qmp, "set_password", a, NULL, err);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int handshake(struct domain *d, const struct start_spec *spec, struct err **err)
{
    struct run *r = run_of(d);
    struct json_object *a;
    uint64_t balloon = node_get_u64(d->def, "currentMemory", 0);
    int result = monitor_run(r->qmp, "qmp_capabilities", NULL, NULL, err);

    if (result == 0) {
        AUTO_JSON struct json_object *caps = json_object_new_array();
        struct json_object *one = json_object_new_object();

        (void)json_add_str(one, "capability", "events");
        (void)json_add_bool(one, "state", true);
        json_object_array_add(caps, one);
        a = json_object_new_object();
        (void)json_add(a, "capabilities", json_object_get(caps));
        (void)monitor_run(r->qmp, "migrate-set-capabilities", a, NULL, NULL);
    }
    result = result == 0 ? read_back(d, err) : result;
    result = result == 0 ? set_passwords(d, err) : result;
    if (result == 0 && node_child(domain_devices(d->def), "memballoon") != NULL &&
        !node_is(domain_devices(d->def), "memballoon/@model", "none") && spec->incoming == NULL &&
        spec->incoming_fd < 0) {
        const char *period = node_get(domain_devices(d->def), "memballoon/stats/@period");

        a = json_object_new_object();
        (void)json_add_u64(a, "value", balloon * 1024);
        (void)monitor_run(r->qmp, "balloon", a, NULL, NULL);
        if (period != NULL) {
            a = json_object_new_object();
            (void)json_add_str(a, "path", "/machine/peripheral/balloon0");
            (void)json_add_str(a, "property", "guest-stats-polling-interval");
            (void)json_add_u64(a, "value",
                               node_get_u64(domain_devices(d->def), "memballoon/stats/@period", 0));
            (void)monitor_run(r->qmp, "qom-set", a, NULL, NULL);
        }
    }
    return result;
}

static int load_incoming(struct domain *d, int fd, struct err **err)
{
    struct run *r = run_of(d);
    struct json_object *a = json_object_new_object();
    int result;

    (void)json_add_str(a, "fdname", "migrate");
    result = monitor_run_fd(r->qmp, "getfd", a, fd, MONITOR_WAIT_USEC, NULL, err);
    if (result < 0) {
        return result;
    }
    a = json_object_new_object();
    (void)json_add_str(a, "uri", "fd:migrate");
    result = monitor_run(r->qmp, "migrate-incoming", a, NULL, err);
    while (result == 0) {
        AUTO_JSON struct json_object *o = NULL;
        const char *status = "";

        result = monitor_run(r->qmp, "query-migrate", NULL, &o, err);
        if (result < 0) {
            break;
        }
        status = json_str_or(o, "status", status);
        if (str_eq(status, "completed")) {
            break;
        }
        if (str_eq(status, "failed")) {
            return fault(err, DOM_QEMU, OPERATION_FAILED,
                         "job 'restore' failed: load of migration failed");
        }
        (void)lock_wait(&r->changed, loop_now_usec() + 50000);
        if (r->domain == NULL) {
            return fault(err, DOM_QEMU, OPERATION_FAILED, "domain is not running");
        }
    }
    return result;
}

static int run_dirs(struct domain *d, struct run *r, struct err **err)
{
    /* Short: a socket's path has 107 bytes. */
    r->dir =
        str_format("%s/%s/%d-%.20s", d->world->run_dir, d->world->driver->scheme, d->id, d->name);
    r->monitor_path = r->dir != NULL ? str_format("%s/monitor.sock", r->dir) : NULL;
    if (r->monitor_path == NULL) {
        return -ENOMEM;
    }
    return path_make_folders(r->dir, 0700, err);
}

static int launch(struct domain *d, const struct start_spec *spec, struct err **err)
{
    struct run *r = run_of(d);
    struct cmdline c = { .def = d->def,
                         .run = r,
                         .lib_dir = r->dir,
                         .loadvm = spec->loadvm,
                         .incoming =
                             spec->incoming != NULL || spec->incoming_fd >= 0 ? "defer" : NULL };
    AUTO_FREE char *log = NULL;
    off_t log_at = 0;
    int listen_fd = -1, fd = -1, result;

    c.emulator = emulator_get(d->world, node_get(d->def, "devices/emulator"), err);
    if (c.emulator == NULL) {
        return err != NULL && *err != NULL ? -(*err)->code : -ENOENT;
    }
    r->emulator = c.emulator;
    result = listen_monitor(r, &listen_fd, &fd, err);
    if (result < 0) {
        return result;
    }
    c.monitor_fd = cmdline_fd(&c, listen_fd);
    result = cmdline_build(&c, err);
    result = result == 0 ? spawn(r, &c, &log, &log_at, err) : result;
    cmdline_done(&c);
    if (result < 0) {
        close_fdp(&fd);
        return result;
    }
    r->start_time = start_time_of(r->pid);
    r->ending = true; /* until it is up, its end is told by our error */
    result = watch_exit(r, d->world->server->loop);
    if (result < 0) {
        close_fdp(&fd);
        return err_set(err, -result, "cannot watch the emulator: %s", strerror(-result));
    }
    result = open_monitor(r, fd, err);
    if (result == 0) {
        CLEANUP(err_freep) struct err *own = NULL;

        result = handshake(d, spec, &own);
        if (result < 0) {
            /* Its own words are better than "connection closed". */
            if (r->pid > 0) {
                (void)lock_wait(&r->changed, loop_now_usec() + 500000);
            }
            if (r->pid <= 0) {
                AUTO_FREE char *tail = log_tail(log, log_at);

                return fault(err, DOM_QEMU, INTERNAL_ERROR,
                             "process exited while connecting to monitor%s%s",
                             tail != NULL && *tail != '\0' ? ": " : "", tail != NULL ? tail : "");
            }
            if (own != NULL) {
                return err_set(err, own->code, "%s", own->text);
            }
            return result;
        }
    }
    if (result == 0 && spec->incoming_fd >= 0) {
        result = load_incoming(d, spec->incoming_fd, err);
    }
    if (result == 0) {
        r->ending = false;
    }
    return result;
}

int process_start(struct domain *d, const struct start_spec *spec, struct err **err)
{
    struct world *w = d->world;
    struct run *r = run_new(d);
    int result = 0;

    if (r == NULL) {
        return -ENOMEM;
    }
    if (d->persistent && d->next == NULL) {
        d->next = node_copy(d->def);
        if (d->next == NULL) {
            run_unref(r);
            return -ENOMEM;
        }
    }
    d->id = w->next_id++;
    d->run = r;
    w->n_active++;
    domain_set_state(d, STATE_PAUSED, PAUSED_STARTING_UP);
    result = node_setf(d->def, "@id", "%d", d->id);
    if (result == 0 && node_child(d->def, "resource") == NULL) {
        result = node_set(d->def, "resource/partition", "/machine");
    }
    result = result == 0 ? aliases_assign(d->def, err) : result;
    result = result == 0 ? run_dirs(d, r, err) : result;
    result = result == 0 ? launch(d, spec, err) : result;
    if (result < 0) {
        run_ref(r);
        (void)end_process(r);
        process_ended(r, SHUTOFF_FAILED, -1);
        run_unref(r);
        return result;
    }
    domain_set_state(d, STATE_PAUSED, spec->paused ? PAUSED_USER : PAUSED_STARTING_UP);
    if (spec->incoming != NULL) {
        domain_set_state(d, STATE_PAUSED, PAUSED_MIGRATION);
    } else if (!spec->paused) {
        result = process_cont(d, spec->running_reason,
                              spec->started_detail == STARTED_FROM_SNAPSHOT ? RESUMED_FROM_SNAPSHOT
                                                                            : RESUMED_UNPAUSED,
                              err);
        if (result < 0) {
            (void)process_stop(d, SHUTOFF_FAILED, -1, NULL);
            return result;
        }
    }
    process_save(d);
    if (!spec->quiet) {
        domain_emit(d, EVENT_STARTED, spec->started_detail);
        if (spec->paused) {
            domain_emit(d, EVENT_SUSPENDED, SUSPENDED_PAUSED);
        }
        if (r->agent_path != NULL) {
            events_agent_lifecycle(d, 2, 1);
        }
    }
    return 0;
}

int process_cont(struct domain *d, int running_reason, int resumed_detail, struct err **err)
{
    struct run *r = run_of(d);
    int result;

    r->resume_reason = running_reason;
    run_ref(r);
    result = monitor_run(r->qmp, "cont", NULL, NULL, err);
    if (result == 0 && r->domain != NULL && d->state != STATE_RUNNING) {
        domain_set_state(d, STATE_RUNNING, running_reason);
        domain_emit(d, EVENT_RESUMED, resumed_detail);
    }
    run_unref(r);
    return result;
}

int process_pause(struct domain *d, int paused_reason, int suspended_detail, struct err **err)
{
    struct run *r = run_of(d);
    int result;

    r->stop_reason = paused_reason;
    run_ref(r);
    result = monitor_run(r->qmp, "stop", NULL, NULL, err);
    if (result == 0 && r->domain != NULL && d->state != STATE_PAUSED) {
        domain_set_state(d, STATE_PAUSED, paused_reason);
        domain_emit(d, EVENT_SUSPENDED, suspended_detail);
    }
    run_unref(r);
    return result;
}

/* ---- taking over ---- */

int process_connect(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (path == NULL || strlen(path) >= sizeof(sa.sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
        return -errno;
    }
    return TAKE_FD(fd);
}

static void adopted_state(struct domain *d)
{
    AUTO_JSON struct json_object *o = NULL;
    bool running = false;

    if (monitor_run(run_of(d)->qmp, "query-status", NULL, &o, NULL) == 0 &&
        json_get_bool(o, "running", &running, NULL) == 0) {
        if (running && d->state != STATE_RUNNING) {
            domain_set_state(d, STATE_RUNNING, RUNNING_UNKNOWN);
        } else if (!running && d->state == STATE_RUNNING) {
            const char *status = "";

            status = json_str_or(o, "status", status);
            if (str_eq(status, "shutdown")) {
                run_of(d)->saw_shutdown = true;
                (void)process_stop(d, SHUTOFF_SHUTDOWN, STOPPED_SHUTDOWN, NULL);
                return;
            }
            domain_set_state(d, STATE_PAUSED, PAUSED_UNKNOWN);
        }
    }
}

static int adopt_one(struct world *w, const char *path, struct err **err)
{
    CLEANUP(node_freep) struct node *n = NULL;
    struct node *def;
    struct domain *d;
    struct run *r;
    int fd, result = files_read_node(path, &schema_domstatus, true, &n, err);

    if (result < 0) {
        return result;
    }
    def = node_child(n, "domain");
    if (def == NULL || node_get(def, "name") == NULL || node_get(def, "uuid") == NULL) {
        return err_set(err, EINVAL, "no domain in it");
    }
    node_detach(def);
    d = hash_get(w->by_uuid, node_get(def, "uuid"));
    if (d == NULL) {
        result = domain_add(w, def, &d, err);
        if (result < 0) {
            return result;
        }
    } else {
        d->next = d->def;
        d->def = def;
    }
    r = run_new(d);
    if (r == NULL) {
        return -ENOMEM;
    }
    d->run = r;
    d->id = (int)node_get_u64(n, "@id", 1);
    if (d->id >= w->next_id) {
        w->next_id = d->id + 1;
    }
    w->n_active++;
    d->state = (enum domain_state)node_get_u64(n, "@state", STATE_RUNNING);
    d->reason = (int)node_get_u64(n, "@reason", 0);
    r->pid = (pid_t)node_get_u64(n, "@pid", 0);
    r->start_time = node_get_u64(n, "@start", 0);
    r->vnc_port = (unsigned)node_get_u64(n, "@vnc", 0);
    r->next_node = (unsigned)node_get_u64(n, "job/@operation", 0);
    ports_mark(r->vnc_port);
    r->monitor_path = node_get(n, "monitor/@path") ? strdup(node_get(n, "monitor/@path")) : NULL;
    r->agent_path = node_get(n, "agent/@path") ? strdup(node_get(n, "agent/@path")) : NULL;
    if (r->monitor_path != NULL && strrchr(r->monitor_path, '/') != NULL) {
        r->dir =
            strndup(r->monitor_path, (size_t)(strrchr(r->monitor_path, '/') - r->monitor_path));
    }
    r->emulator = emulator_get(w, node_get(d->def, "devices/emulator"), NULL);
    network_rejoin_all(w, d->def);
    fd = r->pid > 0 && start_time_of(r->pid) == r->start_time ? process_connect(r->monitor_path)
                                                              : -ESRCH;
    if (fd < 0) {
        r->pid = -1;
        process_ended(r, SHUTOFF_CRASHED, STOPPED_FAILED);
        return err_set(err, -fd, "the emulator of '%s' ended while no daemon ran",
                       node_get(n, "monitor/@path"));
    }
    result = watch_exit(r, w->server->loop);
    result = result == 0 ? open_monitor(r, fd, err) : result;
    result = result == 0 ? monitor_run(r->qmp, "qmp_capabilities", NULL, NULL, err) : result;
    if (result < 0) {
        (void)process_stop(d, SHUTOFF_FAILED, STOPPED_FAILED, NULL);
        return result;
    }
    (void)read_back(d, NULL);
    adopted_state(d);
    if (d->run != NULL && node_child(n, "domainbackup") != NULL) {
        r->backup = node_detach(node_child(n, "domainbackup"));
        (void)stats_begin(d, "backup");
    }
    if (d->run != NULL) {
        blockjobs_adopt(d, n);
    }
    return 0;
}

void process_adopt_all(struct world *w)
{
    AUTO_FREE char *dir = str_format("%s/%s", w->run_dir, w->driver->scheme);

    if (dir != NULL) {
        (void)files_each(dir, ".xml", adopt_one, w);
    }
}
