/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c - vireo-system-x86_64: command line, machine, main loop. */
#include "base/hash.h"
#include "base/log.h"
#include "block/core/block.h"
#include "os/fd.h"
#include "os/loop.h"
#include "os/sandbox.h"
#include "vmm/char/chardev.h"
#include "vmm/cli/build.h"
#include "vmm/cli/config.h"
#include "vmm/cli/confine.h"
#include "vmm/cli/help.h"
#include "vmm/machine/broker.h"
#include "vmm/machine/machine.h"
#include "vmm/gdb/stub.h"
#include "vmm/qmp/console.h"
#include "vmm/qmp/server.h"
#include "vmm/state/migrate.h"
#include "vmm/state/state.h"
#include "vmm/ui/vnc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void on_signal(int signo, void *arg)
{
    (void)signo;
    machine_request_shutdown(arg, CAUSE_HOST_SIGNAL);
}

static int watch_signals(struct loop *loop, struct machine *m, struct loop_source *sources[3],
                         struct err **err)
{
    static const int signals[3] = { SIGINT, SIGTERM, SIGHUP };

    (void)signal(SIGPIPE, SIG_IGN);
    for (unsigned i = 0; i < 3; i++) {
        int r = loop_add_signal(loop, signals[i], on_signal, m, &sources[i]);

        if (r < 0) {
            return err_set(err, -r, "cannot watch a signal: %s", strerror(-r));
        }
    }
    return 0;
}

static int write_pidfile(const char *path, struct err **err)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0 || fd_write_all(fd, text, (size_t)len) < 0) {
        return err_set(err, errno, "-pidfile: cannot write '%s': %s", path, strerror(errno));
    }
    return 0;
}

/* The parent waits for one byte that says that set-up went well; *ret_fd: where to write it. */
static int go_background(int *ret_fd, struct err **err)
{
    int fds[2];
    pid_t pid;
    char ok = 0;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        return err_set(err, errno, "-daemonize: no pipe: %s", strerror(errno));
    }
    pid = fork();
    if (pid < 0) {
        return err_set(err, errno, "-daemonize: cannot fork: %s", strerror(errno));
    }
    if (pid > 0) {
        (void)close(fds[1]);
        (void)!read(fds[0], &ok, 1);
        _exit(ok == 1 ? 0 : 1);
    }
    (void)close(fds[0]);
    (void)setsid();
    *ret_fd = fds[1];
    return 0;
}

static void leave_terminal(int fd)
{
    AUTO_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    char ok = 1;

    (void)!write(fd, &ok, 1);
    (void)close(fd);
    for (int i = 0; null >= 0 && i < 3; i++) {
        (void)dup2(null, i);
    }
}

/* Without a display option a machine with graphics is shown on localhost. */
static int open_vnc(struct machine *m, struct config *c, struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *dflt = NULL;
    struct keyval *opts = NULL;
    int r = 0;

    if (c->lists[LIST_VNC].n > 0) {
        opts = c->lists[LIST_VNC].items[c->lists[LIST_VNC].n - 1];
    } else if (c->display == DISPLAY_DEFAULT && m->display != NULL) {
        r = keyval_parse("127.0.0.1:0,to=99", "display", false, &dflt, err);
        opts = dflt;
    }
    if (r == 0 && opts != NULL) {
        r = vnc_open(m, opts, &m->vnc, err);
        if (r < 0) {
            err_prefix(err, "-vnc: ");
        } else if (dflt != NULL && !c->quiet) {
            log_note("VNC server running on %s:%s", vnc_host(m->vnc), vnc_service(m->vnc));
        }
    }
    return r;
}

static int run(struct config *c, int *ret_status, struct err **err)
{
    CLEANUP(loop_freep) struct loop *loop = NULL;
    struct machine *m = NULL;
    struct block_ctx *blocks = NULL;
    struct qmp *qmp = NULL;
    struct consoles *consoles = NULL;
    struct gdb_stub *gdb = NULL;
    struct loop_source *signals[3] = { NULL };
    int daemon_fd = -1;
    AUTO_FD int broker_fd = -1;
    int r = c->daemonize ? go_background(&daemon_fd, err) : 0;

    if (r == 0 && !c->sandbox_off) {
        r = broker_start(c->run_uid, c->run_gid, &broker_fd, err);
    }
    if (r == 0) {
        r = loop_new(&loop);
        if (r < 0) {
            r = err_set(err, -r, "cannot make an event loop: %s", strerror(-r));
        }
    }
    if (r == 0) {
        r = machine_build(c, loop, &m, &blocks, err);
    }
    if (r == 0) {
        r = watch_signals(loop, m, signals, err);
    }
    if (r == 0) {
        r = open_vnc(m, c, err);
    }
    if (r == 0) {
        r = qmp_open(m, c, &qmp, err);
    }
    if (r == 0) {
        r = consoles_open(m, c, &consoles, err);
    }
    if (r == 0 && c->gdb != NULL) {
        r = gdb_open(m, c->gdb, &gdb, err);
    }
    if (r == 0 && c->pidfile != NULL) {
        r = write_pidfile(c->pidfile, err);
    }
    /* Privileges and files are a thread's: given up before the vCPUs' threads are made. */
    if (r == 0 && daemon_fd >= 0) {
        leave_terminal(daemon_fd);
    }
    if (r == 0 && c->run_uid != 0) {
        r = sandbox_drop(c->run_uid, c->run_gid, err);
    }
    if (r == 0 && !c->sandbox_off) {
        r = confine_files(m, err);
    }
    if (r == 0 && broker_fd >= 0) {
        broker_use(m, broker_fd);
    }
    if (r == 0 && blocks != NULL) {
        r = block_ctx_prepare(blocks, err);
    }
    if (r == 0) {
        r = machine_start_vcpus(m, err);
    }
    if (r == 0 && !c->sandbox_off) {
        r = confine_calls(err);
    }
    if (r == 0) {
        m->internal_error_exits = qmp == NULL;
        m->incoming_stays = c->start_stopped;
        if (c->incoming != NULL) {
            machine_lock(m);
            r = migrate_in(m, c->incoming, err);
            machine_unlock(m);
        } else if (c->loadvm != NULL) {
            machine_lock(m);
            r = state_loadvm(m, c->loadvm, err);
            machine_unlock(m);
        }
        if (r == 0 && c->incoming == NULL && !c->start_stopped) {
            machine_lock(m);
            r = machine_run(m, err);
            machine_unlock(m);
        }
    }
    if (r == 0) {
        *ret_status = loop_run(loop);
        machine_lock(m);
        machine_pause(m, RUN_SHUTDOWN);
        machine_unlock(m);
    }
    for (unsigned i = 0; i < 3; i++) {
        signals[i] = loop_source_free(signals[i]);
    }
    (void)gdb_close(gdb);
    (void)consoles_close(consoles);
    (void)qmp_close(qmp);
    if (m != NULL) {
        m->vnc = vnc_close(m->vnc);
    }
    machine_tear_down(m, blocks);
    if (c->pidfile != NULL && r == 0) {
        (void)unlink(c->pidfile);
    }
    return r;
}

int main(int argc, char **argv)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct config c;
    int status = 0;
    int r;

    log_set_program("vireo-system-x86_64");
    r = config_parse(&c, argc, argv, &err);
    if (r == 0 && c.accel_help) {
        help_accels();
    } else if (r == 0) {
        r = run(&c, &status, &err);
    }
    config_done(&c);
    if (r < 0) {
        chardev_restore_terminal();
        log_error("%s", err != NULL ? err->text : strerror(-r));
        return 1;
    }
    return status;
}
