/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * machine.h - one virtual machine: memory, buses, vCPUs, devices, run state.
 *
 * One lock covers everything but guest memory: vCPU threads take it for a bus access, the loops for
 * every callback (loop_set_guard()). "Main loop" below means: on the main loop's thread, with the
 * lock held.
 *
 * Run state:
 *     PRELAUNCH -> RUNNING <-> PAUSED
 *     RUNNING -> SHUTDOWN (guest powered off under -no-shutdown) -> (reset) -> PAUSED
 *     RUNNING -> INTERNAL_ERROR (the accelerator gave up)
 *     RUNNING -> SUSPENDED (guest sleeps) -> (wake-up) -> RUNNING
 *     RUNNING -> IO_ERROR (a disk failed under werror=stop) -> RUNNING
 */
#pragma once

#include "base/err.h"
#include "base/list.h"
#include "os/loop.h"
#include "vmm/accel/accel.h"
#include "vmm/accel/vcpu.h"
#include "vmm/bus/iobus.h"
#include "vmm/fw/boot.h"
#include "vmm/mem/gmem.h"
#include "vmm/state/migrate.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    MACHINE_MAX_VCPUS = 64,
    MACHINE_MAX_ALLOWED = 32,
    MACHINE_MAX_DATA_DIRS = 8,
    MACHINE_FIRST_SLOT = 32, /* below: RAM */
    MACHINE_MAX_FDS = 32,
};

struct acpi_pm;
struct block_ctx;
struct block_req;
struct cpu_model;
struct display;
struct device;
struct machine;
struct machine_class;
struct pci_bus;
struct hash;
struct vnc;

enum run_state {
    RUN_PRELAUNCH,
    RUN_RUNNING,
    RUN_PAUSED,
    RUN_SHUTDOWN,
    RUN_INTERNAL_ERROR,
    RUN_IO_ERROR,
    RUN_WATCHDOG,
    RUN_INMIGRATE,
    RUN_SUSPENDED,
    RUN_POSTMIGRATE,
    RUN_FINISH_MIGRATE,
    RUN_SAVE_VM,
    RUN_RESTORE_VM,
    RUN_GUEST_PANICKED,
    RUN_DEBUG,
};

/* Why the machine goes down or is reset; the names are QMP's (ShutdownCause). */
enum shutdown_cause {
    CAUSE_NONE,
    CAUSE_HOST_ERROR,
    CAUSE_HOST_QMP_QUIT,
    CAUSE_HOST_QMP_SYSTEM_RESET,
    CAUSE_HOST_SIGNAL,
    CAUSE_HOST_UI,
    CAUSE_GUEST_SHUTDOWN,
    CAUSE_GUEST_RESET,
    CAUSE_GUEST_PANIC,
};
/* What is done when the guest's watchdog has run out, and when the guest has crashed. */
enum watchdog_action {
    WATCHDOG_RESET,
    WATCHDOG_SHUTDOWN,
    WATCHDOG_POWEROFF,
    WATCHDOG_PAUSE,
    WATCHDOG_DEBUG,
    WATCHDOG_NONE,
    WATCHDOG_INJECT_NMI,
};
enum panic_action { PANIC_SHUTDOWN, PANIC_PAUSE, PANIC_EXIT_FAILURE, PANIC_NONE };
/* By QMP's name; -EINVAL. */
int watchdog_action_parse(const char *name, enum watchdog_action *ret);
int panic_action_parse(const char *name, enum panic_action *ret);

const char *shutdown_cause_name(enum shutdown_cause cause);
const char *run_state_name(enum run_state state);

/* An interrupt line's device end. */
struct irq {
    void (*set)(void *arg, unsigned gsi, int level);
    void *arg;
    unsigned gsi;
};

static inline void irq_set(const struct irq *irq, int level)
{
    if (irq->set != NULL) {
        irq->set(irq->arg, irq->gsi, level);
    }
}

/* Told of what QMP calls events; data is a JSON text or NULL. Main loop. */
typedef void machine_event_fn(void *arg, const char *name, const char *json_data);

/* A debugger. stopped: a CPU has hit something and the machine stands (main loop); is_ours: is the
 * exit the debugger's, or the guest's own breakpoint (any thread, with the lock held)? */
struct machine_debug {
    void (*stopped)(void *arg, unsigned vcpu); /* NULL: there is none */
    bool (*is_ours)(void *arg, const struct kvm_debug_exit_arch *exit);
    void *arg;
};

struct machine_listener {
    struct list link;
    machine_event_fn *fn;
    void *arg;
};

struct machine {
    const struct machine_class *cls;
    void *board; /* owned: the class's state */
    struct loop *loop;
    pthread_mutex_t lock;
    pthread_cond_t vcpus_cond; /* a vCPU parked, or the state changed */

    struct gmem mem;
    uint64_t ram_bytes;
    struct iobus pio;
    struct iobus mmio;
    struct accel *accel; /* owned; NULL in unit tests of devices */
    struct vcpu *vcpus;  /* owned */
    unsigned n_vcpus;
    struct cpu_model *cpu; /* owned */
    struct boot boot;      /* what is loaded before the first instruction and after each reset */

    /* PCI. */
    struct pci_bus *pci_root;    /* the board's; NULL: there is no PCI */
    struct list pci_buses;       /* all of them */
    uint32_t pci_address;        /* port 0xcf8 */
    struct device *acpi_hotplug; /* of the root bus; NULL: none */
    uint64_t memory_slots[8];    /* bit n: the accelerator's slot MACHINE_FIRST_SLOT + n is used */
    char *data_dirs[MACHINE_MAX_DATA_DIRS]; /* owned: -L */
    unsigned n_data_dirs;
    struct list usb_buses;    /* struct usb_bus.link */
    struct list scsi_buses;   /* struct scsi_bus.link */
    struct list ide_buses;    /* struct ide_bus.link */
    struct list inputs;       /* struct input_handler.link */
    int pointer_x, pointer_y; /* last absolute position */
    struct acpi_pm *pm;       /* the board's power management; NULL: none */
    uint64_t flash_bytes;     /* of the flash device that came last */
    bool s3_off, s4_off;
    char *type_name;         /* owned: -machine as the user wrote it */
    struct list retries;     /* struct block_req.link: failed, to be tried again */
    struct vnc *vnc;         /* owned; NULL: none */
    struct display *display; /* what -vnc and screendump show; borrowed */

    void (*irq_watch)(void *arg, unsigned gsi, int level); /* tests without accelerator */
    void *irq_watch_arg;
    struct list devices; /* struct device.link, in order of creation */
    struct hash *netdevs;
    struct hash *fsdevs;
    struct hash *chardevs;
    struct hash *blocks;         /* struct block_node, by node name and drive id */
    struct hash *drives;         /* which of these names are drives' ids: they follow the image */
    struct list jobs;            /* struct qmp_job.link */
    struct nbd_state *nbd;       /* owned by qmp/nbd.c; NULL: no server */
    struct hash *objects;        /* struct object, by id */
    struct block_ctx *block_ctx; /* borrowed */
    struct {
        char *name;         /* owned; NULL: free */
        int fd;             /* owned */
    } fds[MACHINE_MAX_FDS]; /* named by QMP's getfd */
    int received_fd;        /* owned: came with the QMP command that runs; -1: none */
    unsigned pointer_buttons;
    struct migration migration;
    bool incoming_stays; /* -S: what comes in stays paused */
    int64_t max_bandwidth, downtime_limit;
    int broker_fd; /* -1: files are opened here */

    enum run_state state;
    bool stop_requested; /* vCPUs have to park */
    bool no_reboot;
    bool snapshot_mode; /* -snapshot: images are not changed */
    bool no_shutdown;
    char *name; /* owned; NULL without -name */
    uint8_t uuid[16];
    bool has_uuid;
    int64_t rtc_offset_usec; /* guest's RTC less the host's */

    /* What the sandbox has to leave open: folders that devices share. */
    struct {
        char *path; /* owned */
        bool write;
    } allowed[MACHINE_MAX_ALLOWED];
    unsigned n_allowed;

    struct list listeners;
    void (*powerdown)(void *arg); /* the device that tells the guest of the power button */
    void *powerdown_arg;
    enum shutdown_cause shutdown_request;
    enum shutdown_cause reset_request;
    bool error_request, io_error_request, suspend_request, panic_request, watchdog_request;
    bool debug_request;
    unsigned debug_vcpu;
    struct machine_debug debug;
    enum watchdog_action watchdog_action;
    enum panic_action panic_action;
    bool internal_error_exits; /* nobody could look at the stopped machine */
    bool request_posted;
    bool waking; /* a reset that keeps RAM */
    bool quitting;
};

/* An empty machine around the loop, whose guard becomes the machine's lock. */
int machine_new(struct loop *loop, struct machine **ret, struct err **err) MUST_CHECK;
struct machine *machine_free(struct machine *m);
DEFINE_CLEANUP(struct machine, machine_free)

/* Ends the vCPUs and frees the devices, before their back ends go. */
void machine_free_devices(struct machine *m);

void machine_lock(struct machine *m);
void machine_unlock(struct machine *m);

/* A device will open files below that folder while the guest runs. */
int machine_allow_path(struct machine *m, const char *path, bool write, struct err **err)
    MUST_CHECK;

/* The line of a GSI. */
struct irq machine_irq(struct machine *m, unsigned gsi);

/* Shows the guest memory of ours at gpa (whole pages), until unmapped: video memory, ROMs. */
int machine_map_memory(struct machine *m, uint64_t gpa, uint64_t size, void *host, bool read_only,
                       unsigned *ret_slot);
void machine_unmap_memory(struct machine *m, unsigned slot);
/* A message-signalled interrupt. */
void machine_send_msi(struct machine *m, uint64_t address, uint32_t data);

/* The descriptor that getfd has named, or a number that was inherited: the caller's now; -ENOENT.
 */
int machine_take_fd(struct machine *m, const char *name);
bool machine_close_fd(struct machine *m, const char *name);
/* A file that QMP names, as open(): a descriptor or a negative errno. */
int machine_open_file(struct machine *m, const char *path, int flags, unsigned mode);

/* The vCPUs' threads; the machine stays paused. Main loop, once. */
int machine_start_vcpus(struct machine *m, struct err **err) MUST_CHECK;

/* Main loop. Pausing returns when every vCPU has parked. */
int machine_run(struct machine *m, struct err **err);
void machine_pause(struct machine *m, enum run_state state);
int machine_reset(struct machine *m, enum shutdown_cause cause, struct err **err);
void machine_powerdown(struct machine *m);

/* Requests from devices and vCPU threads, with the lock held; done by the main loop soon. */
void machine_request_shutdown(struct machine *m, enum shutdown_cause cause);
void machine_request_reset(struct machine *m, enum shutdown_cause cause);
/* Ends the program with that status, without events; no vCPU runs another instruction. */
void machine_quit(struct machine *m, int status);
void machine_request_internal_error(struct machine *m);
/* Stops with state io-error; the request is submitted again when the machine goes on. */
void machine_request_io_error(struct machine *m);
void machine_retry(struct machine *m, struct block_req *req);
void machine_guest_panicked(struct machine *m);
void machine_debug_hit(struct machine *m, unsigned vcpu);
void machine_watchdog(struct machine *m);
/* The guest sleeps (ACPI S3) until machine_wakeup(). */
void machine_request_suspend(struct machine *m);
int machine_wakeup(struct machine *m, struct err **err);

void machine_event(struct machine *m, const char *name, const char *json_fmt, ...) PRINTF(3, 4);
void machine_listen(struct machine *m, struct machine_listener *l, machine_event_fn *fn, void *arg);
void machine_unlisten(struct machine_listener *l);
