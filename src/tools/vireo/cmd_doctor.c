/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cmd_doctor.c - vireo doctor: what works here, what does not, and what to do about it.
 *
 * Each check is a table row. Exit status 0: virtual machines run; 1: something they need is
 * missing.
 */
#include "base/str.h"
#include "os/path.h"
#include "os/process.h"
#include "tools/vireo/command.h"
#include "tools/vireo/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>

enum verdict { GOOD, FAIR, BAD };

struct finding {
    enum verdict verdict;
    char *text;   /* owned: what was found */
    char *advice; /* owned: what to do; NULL: nothing */
};

static void found(struct finding *f, enum verdict v, char *text, const char *advice)
{
    f->verdict = v;
    f->text = text;
    f->advice = advice != NULL ? strdup(advice) : NULL;
}

static void check_emulator(struct finding *f)
{
    char *path = path_find_program("vireo-system-x86_64");

    if (path != NULL) {
        found(f, GOOD, path, NULL);
    } else {
        found(f, BAD, strdup("vireo-system-x86_64 not found"),
              "install Vireo, or put it into $PATH");
    }
}

static void check_kvm_device(struct finding *f)
{
    AUTO_FD int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd >= 0) {
        found(f, GOOD, strdup("/dev/kvm opens"), NULL);
    } else if (errno == ENOENT) {
        found(
            f, FAIR, strdup("there is no /dev/kvm: guests run on Vireo's own engine"),
            "on real hardware: enable virtualization in the firmware and load kvm_intel or kvm_amd");
    } else if (errno == EACCES) {
        found(f, FAIR, strdup("/dev/kvm may not be opened: guests run on Vireo's own engine"),
              "add yourself to its group: adduser $USER kvm, then log in again");
    } else {
        found(f, FAIR, str_format("/dev/kvm does not open: %s", strerror(errno)), NULL);
    }
}

/* The emulator tells which engine it would use; it has tried the kernel's with a small guest. */
static void check_engine(struct finding *f)
{
    AUTO_FREE char *emulator = path_find_program("vireo-system-x86_64");
    const char *const argv[] = { emulator, "-accel", "help", NULL };
    CLEANUP(err_freep) struct err *err = NULL;
    AUTO_FREE char *out = NULL;
    size_t n;

    if (emulator == NULL || process_capture(argv, 65536, &out, &err) < 0) {
        found(f, BAD,
              str_format("the emulator does not start: %s", err != NULL ? err->text : "not found"),
              "run 'vireo-system-x86_64 -version' to see why");
        return;
    }
    n = strlen(out);
    while (n > 0 && out[n - 1] == '\n') {
        out[--n] = '\0';
    }
    found(f, GOOD, TAKE_PTR(out), NULL);
}

static void check_kernel(struct finding *f)
{
    struct guest_kernel k = { .image = NULL };
    CLEANUP(err_freep) struct err *err = NULL;

    if (guest_kernel_find(&k, &err) == 0) {
        found(f, GOOD, str_format("%s, %s", k.image, k.busybox), NULL);
        guest_kernel_done(&k);
    } else {
        found(f, BAD, strdup(err != NULL ? err->text : "no memory"),
              "apt-get install linux-image-cloud-amd64 busybox-static");
    }
}

static void check_shm(struct finding *f)
{
    struct rlimit as;

    if (getrlimit(RLIMIT_AS, &as) == 0 && as.rlim_cur != RLIM_INFINITY) {
        found(f, FAIR,
              str_format("address space is limited to %llu MiB",
                         (unsigned long long)as.rlim_cur >> 20),
              "ulimit -v unlimited");
        return;
    }
    found(f, GOOD, strdup("no limit on address space"), NULL);
}

static void check_files(struct finding *f)
{
    struct rlimit n;

    if (getrlimit(RLIMIT_NOFILE, &n) == 0 && n.rlim_cur < 256) {
        found(f, FAIR, str_format("only %llu open files allowed", (unsigned long long)n.rlim_cur),
              "ulimit -n 1024");
        return;
    }
    found(f, GOOD, strdup("enough open files allowed"), NULL);
}

static const struct {
    const char *name;
    void (*check)(struct finding *f);
} checks[] = {
    { "emulator", check_emulator }, { "kernel's KVM", check_kvm_device },
    { "engine", check_engine },     { "guest kernel", check_kernel },
    { "memory", check_shm },        { "files", check_files },
};

static int doctor(int argc, char **argv, struct err **err)
{
    static const char *const words[] = { [GOOD] = "ok", [FAIR] = "note", [BAD] = "MISSING" };
    bool bad = false;

    if (argc > 1) {
        return err_set(err, EINVAL, "doctor takes no argument '%s'", argv[1]);
    }
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        struct finding f = { .text = NULL };

        checks[i].check(&f);
        printf("%-13s %-8s %s\n", checks[i].name, words[f.verdict], f.text != NULL ? f.text : "?");
        if (f.advice != NULL) {
            printf("%-13s %-8s to do: %s\n", "", "", f.advice);
        }
        bad = bad || f.verdict == BAD;
        free(f.text);
        free(f.advice);
    }
    printf("%s\n", bad ? "Virtual machines cannot run yet: see what is MISSING."
                       : "Virtual machines run here: try 'vireo run'.");
    return bad ? 1 : 0;
}

const struct command command_doctor = {
    .name = "doctor",
    .usage = "",
    .summary = "Says which engine runs guests here and why, and what is missing.",
    .run = doctor,
};
