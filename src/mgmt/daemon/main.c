/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c - vireod: options, folders, worlds, sockets, the loop. */
#include "base/log.h"
#include "base/str.h"
#include "mgmt/access/access.h"
#include "mgmt/daemon/autodestroy.h"
#include "mgmt/daemon/calls.h"
#include "mgmt/daemon/config.h"
#include "mgmt/driver/driver.h"
#include "mgmt/driver/qemu/migration.h"
#include "mgmt/model/units.h"
#include "mgmt/server/dispatch.h"
#include "mgmt/server/lock.h"
#include "mgmt/server/server.h"
#include "mgmt/server/worker.h"
#include "mgmt/transport/ssh_helper.h"
#include "mgmt/transport/x509.h"
#include "os/fd.h"
#include "os/loop.h"
#include "os/path.h"
#include "os/tls.h"

#include <errno.h>
#include <libxml/parser.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

static struct server server, admin_server;

static bool somebody_runs(void)
{
    for (size_t i = 0; worlds[i] != NULL; i++) {
        if (worlds[i]->n_active > 0 && !str_eq(worlds[i]->driver->scheme, "test")) {
            return true;
        }
    }
    return false;
}

static void on_signal(int signo, void *arg)
{
    struct loop *loop = arg;

    log_note("signal %d; ending", signo);
    loop_quit(loop, 0);
}

/* One UUID for the host, made once and kept. */
static int host_uuid(struct world *w)
{
    AUTO_FREE char *path = str_format("%s/host-uuid", w->lib_dir), *text = NULL;
    char out[UUID_TEXT_BYTES + 1];
    size_t n;

    if (path == NULL) {
        return -ENOMEM;
    }
    if (file_slurp(path, 64, &text, &n) == 0) {
        if (n > 36) {
            text[36] = '\0';
        }
        if (uuid_parse(text, w->host_uuid) == 0) {
            return 0;
        }
    }
    uuid_generate(w->host_uuid);
    uuid_format(w->host_uuid, out);
    return file_replace(path, out, strlen(out), 0644);
}

static char *folder(const struct options *o, enum path_kind kind, const char *below,
                    struct err **err)
{
    AUTO_FREE char *base = path_of(kind, o->system, NULL);
    char *full;

    if (o->root != NULL) {
        static const char *const names[] = { "etc", "lib", "cache", "run" };

        full = str_format("%s/%s%s%s", o->root, names[kind], below != NULL ? "/" : "",
                          below != NULL ? below : "");
    } else {
        full = base != NULL ? str_format("%s%s%s", base, below != NULL ? "/" : "",
                                         below != NULL ? below : "")
                            : NULL;
    }
    if (full == NULL || path_make_folders(full, kind == PATH_RUN ? 0755 : 0711, err) < 0) {
        free(full);
        return NULL;
    }
    return full;
}

static int open_worlds(const struct options *o, struct err **err)
{
    size_t n = 0;

    for (size_t i = 0; drivers[i] != NULL; i++) {
        const struct driver *d = drivers[i];
        bool test = str_eq(d->scheme, "test");
        AUTO_FREE char *uri =
            test ? strdup("test:///default")
                 : str_format("%s:///%s", d->scheme, o->system ? "system" : "session");
        struct world *w = uri != NULL ? world_new(d, &server, uri) : NULL;
        int r;

        if (w == NULL) {
            return -ENOMEM;
        }
        w->system = o->system;
        if (!test) {
            w->config_dir = folder(o, PATH_CONFIG, NULL, err);
            w->lib_dir = folder(o, PATH_STATE, NULL, err);
            w->cache_dir = folder(o, PATH_CACHE, NULL, err);
            w->run_dir = folder(o, PATH_RUN, NULL, err);
            w->log_dir = o->root != NULL ? str_format("%s/log", o->root)
                         : o->system     ? strdup("/var/log/vireo")
                                         : folder(o, PATH_CACHE, "log", err);
            if (w->config_dir == NULL || w->lib_dir == NULL || w->cache_dir == NULL ||
                w->run_dir == NULL || w->log_dir == NULL) {
                world_free(w);
                return -EIO;
            }
            r = host_uuid(w);
            if (r < 0) {
                world_free(w);
                return err_set(err, -r, "cannot write the host's UUID: %s", strerror(-r));
            }
            if (o->settings.host_uuid != NULL) {
                (void)uuid_parse(o->settings.host_uuid, w->host_uuid);
            }
        }
        worlds[n++] = w;
        r = d->open(w, err);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int listen_local(const struct options *o, struct err **err)
{
    AUTO_FREE char *run = folder(o, PATH_RUN, NULL, err);
    AUTO_FREE char *main_path = NULL, *ro = NULL, *admin = NULL;
    struct service *v;
    int r;

    if (run == NULL) {
        return -EIO;
    }
    main_path = o->socket != NULL ? strdup(o->socket)
                : o->as_libvirtd  ? str_format("%s/libvirt-sock", o->libvirt_dir)
                                  : str_format("%s/vireo-sock", run);
    ro = main_path != NULL ? str_format("%s-ro", main_path) : NULL;
    admin = o->as_libvirtd      ? str_format("%s/libvirt-admin-sock", o->libvirt_dir)
            : o->socket != NULL ? str_format("%s-admin", o->socket)
                                : str_format("%s/vireo-admin-sock", run);
    if (main_path == NULL || ro == NULL || admin == NULL) {
        return -ENOMEM;
    }
    r = server_listen_unix(&server, main_path, o->system ? o->settings.unix_mode : 0700, &v, err);
    if (r < 0) {
        return r;
    }
    v->auth = o->system ? o->settings.auth_unix : AUTH_NONE;
    if (o->system) {
        r = server_listen_unix(&server, ro, 0777, &v, err);
        if (r < 0) {
            return r;
        }
        v->readonly = true;
    }
    r = server_listen_unix(&admin_server, admin, 0700, &v, err);
    if (r == 0) {
        v->admin = true;
    }
    return r;
}

/* Sockets that systemd opened: the path says what each is for. */
static int take_activated(int n, struct err **err)
{
    for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
        struct sockaddr_un sa = { 0 };
        socklen_t len = sizeof(sa);
        struct service *v;
        bool admin = sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0;
        int r;

        admin = admin && getsockname(fd, (struct sockaddr *)&sa, &len) == 0 &&
                strstr(sa.sun_path, "admin") != NULL;
        r = server_listen(admin ? &admin_server : &server, fd, NULL, &v, err);
        if (r < 0) {
            return r;
        }
        v->admin = admin;
        v->readonly = str_ends(sa.sun_path, "-ro");
    }
    return 0;
}

static int listen_network(const struct options *o, struct tls_creds **ret_creds, struct err **err)
{
    struct service *v;
    int r;

    if (o->settings.listen_tcp) {
        r = server_listen_tcp(&server, o->settings.listen_addr, o->settings.tcp_port, &v, err);
        if (r < 0) {
            return r;
        }
        v->auth = o->settings.auth_tcp;
    }
    if (o->settings.listen_tls) {
        r = x509_load(o->settings.pki_dir, true, ret_creds, err);
        r = r == 0
                ? server_listen_tcp(&server, o->settings.listen_addr, o->settings.tls_port, &v, err)
                : r;
        if (r < 0) {
            return r;
        }
        v->kind = "tls";
        v->tls = *ret_creds;
        v->auth = o->settings.auth_tls;
    }
    return 0;
}

/* What the first worker does: open the worlds, then let clients in. */
struct beginning {
    struct options *options;
    struct loop *loop;
    struct tls_creds *creds; /* owned */
    int n_activated;
    int result;
    struct err *err;
};

static void begin(void *arg)
{
    struct beginning *b = arg;
    int r = open_worlds(b->options, &b->err);

    if (r == 0) {
        r = b->n_activated > 0 ? take_activated(b->n_activated, &b->err)
                               : listen_local(b->options, &b->err);
    }
    r = r == 0 ? listen_network(b->options, &b->creds, &b->err) : r;
    b->result = r;
    if (r < 0) {
        loop_quit(b->loop, 1);
        return;
    }
    server_check_idle(&server);
    (void)sd_notify(0, "READY=1");
    log_note("ready");
}

static int serve(struct options *o, struct err **err)
{
    CLEANUP(loop_freep) struct loop *loop = NULL;
    struct loop_source *term, *intr, *hup;
    struct beginning b = { .options = o, .n_activated = sd_listen_fds(1) };
    int r = loop_new(&loop);

    r = r == 0 ? server_init(&server, loop, "libvirtd") : r;
    r = r == 0 ? server_init(&admin_server, loop, "admin") : r;
    r = r == 0 ? loop_add_signal(loop, SIGTERM, on_signal, loop, &term) : r;
    r = r == 0 ? loop_add_signal(loop, SIGINT, on_signal, loop, &intr) : r;
    r = r == 0 ? loop_add_signal(loop, SIGHUP, on_signal, loop, &hup) : r;
    if (r < 0) {
        return err_set(err, -r, "cannot make the event loop: %s", strerror(-r));
    }
    server.system = o->system;
    server.busy = somebody_runs;
    server.client_gone = autodestroy_client_gone;
    server.idle_timeout_usec = (uint64_t)o->timeout_seconds * 1000000;
    server.max_clients = o->settings.max_clients;
    server.keepalive_seconds = o->settings.keepalive_interval;
    server.keepalive_count = o->settings.keepalive_count;
    migration_configure(o->settings.migrate_tls_dir, o->settings.migration_address,
                        o->settings.migration_host);
    loop_set_guard(loop, lock_enter_arg, lock_leave_arg, NULL);
    b.loop = loop;
    lock_enter();
    r = worker_run(begin, &b, false);
    lock_leave();
    r = r == 0 ? loop_run(loop) : r;
    lock_enter();
    server_done(&server);
    server_done(&admin_server);
    /* Workers may still wait for emulators, which go on; the process ends without them. */
    lock_leave();
    if (b.result < 0) {
        *err = b.err;
        return b.result;
    }
    return r < 0 ? r : 0;
}

/* Every area's calls; a driver's own come first. */
static const struct remote_ops *const tables[] = {
    &calls_connect, &calls_auth,   &calls_event,  &calls_domain,  &calls_node,      &calls_network,
    &calls_pool,    &calls_volume, &calls_secret, &calls_nodedev, &calls_interface, &calls_nwfilter,
};

int main(int argc, char **argv)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct options o;
    int r;

    log_set_program("vireod");
    /* One heap: nearly all allocation happens under the one lock, and many small trees pack better.
     */
    (void)mallopt(M_ARENA_MAX, 1);
    if (str_eq(basename(argv[0]), "virt-ssh-helper")) {
        r = ssh_helper_run(argc, argv, &err);
        if (r < 0) {
            log_error("%s", err != NULL ? err->text : strerror(-r));
        }
        return r < 0 ? 1 : 0;
    }
    r = options_parse(argc, argv, &o, &err);
    if (r > 0) {
        return 0;
    }
    if (r == 0) {
        (void)signal(SIGPIPE, SIG_IGN);
        LIBXML_TEST_VERSION(void) umask(0077);
        for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
            dispatch_add_remote(tables[i]);
        }
        dispatch_add_admin(&calls_admin);
        admin_set_servers(&server, &admin_server);
        r = serve(&o, &err);
    }
    if (r < 0) {
        log_error("%s", err != NULL ? err->text : strerror(-r));
    }
    /* Not exit(): a worker may be in the middle of a wait. */
    fflush(NULL);
    _exit(r < 0 ? 1 : 0);
}
