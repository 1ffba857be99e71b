/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/probe.h"

#include "base/bytes.h"
#include "base/str.h"
#include "os/fd.h"
#include "os/path.h"
#include "vmm/accel/accel.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TIME_LIMIT_MSEC = 3000,
    MEM_BYTES = 0x40000,
    GDT_AT = 0x500,
    IDT_AT = 0x1000,
    TABLES_AT = 0x2000, /* PML4, PDPT, 4 page directories */
    CODE_AT = 0x10000,
    STACK_AT = 0x30000,
    RESULT_PORT = 0xf4,
    RESULT_OK = 0x2a,
    MAX_CPUID = 256,
};

/* The guest. Symbols are offsets into it; it is position-independent. */
__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        "probe_guest:\n"
        "    xorl %r15d, %r15d\n"
        "    int3\n"
        "    cmpl $1, %r15d\n"
        "    jne 9f\n"
        /* cmpxchg16b */
        "    xorl %eax, %eax\n"
        "    xorl %edx, %edx\n"
        "    movl $5, %ebx\n"
        "    movl $6, %ecx\n"
        "    lock cmpxchg16b 0x20000\n"
        "    jne 9f\n"
        "    cmpl $6, 0x20008\n"
        "    jne 9f\n"
        /* wrmsr, rdmsr: KERNEL_GS_BASE */
        "    movl $0xc0000102, %ecx\n"
        "    movl $0x12345678, %eax\n"
        "    xorl %edx, %edx\n"
        "    wrmsr\n"
        "    xorl %eax, %eax\n"
        "    rdmsr\n"
        "    cmpl $0x12345678, %eax\n"
        "    jne 9f\n"
        /* xrstor, when the processor has it (the host set CR4.OSXSAVE then: %r14) */
        "    testl %r14d, %r14d\n"
        "    jz 1f\n"
        "    xorl %ecx, %ecx\n"
        "    xorl %edx, %edx\n"
        "    movl $3, %eax\n"
        "    xsetbv\n"
        "    xsave64 0x21000\n"
        "    xrstor64 0x21000\n"
        /* iretq to 2f */
        "1:  leaq 2f(%rip), %rax\n"
        "    movq %rsp, %rbx\n"
        "    pushq $0x18\n"
        "    pushq %rbx\n"
        "    pushq $2\n"
        "    pushq $0x10\n"
        "    pushq %rax\n"
        "    iretq\n"
        "    jmp 9f\n"
        /* An interrupt: the local APIC sends one to itself. */
        "2:  movl $0xfee00000, %ebx\n"
        "    movl $0x1ff, 0xf0(%rbx)\n"
        "    movl $0x00044020, 0x300(%rbx)\n"
        "    sti\n"
        "    movl $100000000, %ecx\n"
        "3:  cmpl $2, %r15d\n"
        "    je 4f\n"
        "    pause\n"
        "    decl %ecx\n"
        "    jnz 3b\n"
        "    jmp 9f\n"
        "4:  cli\n"
        "    movb $0x2a, %al\n"
        "    outb %al, $0xf4\n"
        "9:  movb $0, %al\n"
        "    outb %al, $0xf4\n"
        "    hlt\n"
        "probe_int3:\n"
        "    incl %r15d\n"
        "    iretq\n"
        "probe_interrupt:\n"
        "    incl %r15d\n"
        "    movl $0, 0xb0(%rbx)\n"
        "    iretq\n"
        "probe_end:\n"
        ".popsection\n");
extern const uint8_t probe_guest[], probe_int3[], probe_interrupt[], probe_end[];

struct cpuid_list {
    struct kvm_cpuid2 h;
    struct kvm_cpuid_entry2 e[MAX_CPUID];
};

static void put_gate(uint8_t *mem, unsigned vector, const uint8_t *handler)
{
    uint64_t at = CODE_AT + (uint64_t)(handler - probe_guest);
    uint8_t *gate = mem + IDT_AT + vector * 16;

    le16_put(gate, (uint16_t)at);
    le16_put(gate + 2, 0x10);
    gate[5] = 0x8e; /* present, interrupt gate */
    le16_put(gate + 6, (uint16_t)(at >> 16));
}

static void fill_memory(uint8_t *mem)
{
    le64_put(mem + GDT_AT + 0x10, 0x00af9b000000ffffull);
    le64_put(mem + GDT_AT + 0x18, 0x00cf93000000ffffull);
    le64_put(mem + TABLES_AT, (TABLES_AT + 0x1000) | 3);
    for (uint64_t i = 0; i < 4; i++) {
        le64_put(mem + TABLES_AT + 0x1000 + i * 8, (TABLES_AT + 0x2000 + i * 0x1000) | 3);
    }
    for (uint64_t i = 0; i < 2048; i++) {
        le64_put(mem + TABLES_AT + 0x2000 + i * 8, i << 21 | 0x83);
    }
    put_gate(mem, 3, probe_int3);
    put_gate(mem, 0x20, probe_interrupt);
    memcpy(mem + CODE_AT, probe_guest, (size_t)(probe_end - probe_guest));
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool code)
{
    return (struct kvm_segment) { .limit = 0xffffffff,
                                  .selector = selector,
                                  .type = type,
                                  .present = 1,
                                  .s = 1,
                                  .l = code,
                                  .db = !code,
                                  .g = 1 };
}

static int set_registers(struct accel *a, int fd, bool xsave)
{
    struct kvm_sregs s;
    struct kvm_regs r = { .rip = CODE_AT, .rsp = STACK_AT, .rflags = 2, .r14 = xsave };

    if (a->p->ioctl(fd, KVM_GET_SREGS, &s) < 0) {
        return -errno;
    }
    s.cs = segment(0x10, 0xb, true);
    s.ds = s.es = s.ss = segment(0x18, 0x3, false);
    s.tr = (struct kvm_segment) { .limit = 0x67, .type = 0xb, .present = 1, .selector = 0x20 };
    s.gdt.base = GDT_AT;
    s.gdt.limit = 0x1f;
    s.idt.base = IDT_AT;
    s.idt.limit = 0x21 * 16 - 1;
    s.cr0 = 0x80000011;
    s.cr3 = TABLES_AT;
    s.cr4 = 0x620 | (xsave ? 1u << 18 : 0); /* PAE, OSFXSR, OSXMMEXCPT, OSXSAVE */
    s.efer = 0x500;
    if (a->p->ioctl(fd, KVM_SET_SREGS, &s) < 0 || a->p->ioctl(fd, KVM_SET_REGS, &r) < 0) {
        return -errno;
    }
    return 0;
}

static int run_guest(struct accel *a, int fd, struct kvm_run *run, struct err **err)
{
    for (;;) {
        if (a->p->ioctl(fd, KVM_RUN, NULL) < 0) {
            if (errno == EINTR || errno == EAGAIN) {
                continue;
            }
            return err_set(err, errno, "it fails: %s", strerror(errno));
        }
        if (run->exit_reason == KVM_EXIT_IO && run->io.port == RESULT_PORT) {
            const uint8_t *v = (const uint8_t *)run + run->io.data_offset;

            return *v == RESULT_OK ? 0 : err_set(err, EIO, "a test guest computes wrong results");
        }
        if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
            return err_set(err, EIO, "it gives up on a 64-bit test guest (internal error %u)",
                           run->internal.suberror);
        }
        if (run->exit_reason != KVM_EXIT_INTR) {
            return err_set(err, EIO, "a 64-bit test guest fails (exit %u)", run->exit_reason);
        }
    }
}

static int probe(const struct accel_provider *p, struct err **err)
{
    CLEANUP(accel_freep) struct accel *a = NULL;
    AUTO_FREE struct cpuid_list *cpuid = calloc(1, sizeof(*cpuid));
    uint8_t *mem =
        mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct kvm_run *run;
    bool xsave = false;
    int fd;
    int r = accel_open(p, &a, err);

    if (r < 0 || mem == MAP_FAILED || cpuid == NULL) {
        return r < 0 ? r : err_set(err, ENOMEM, "no memory");
    }
    fill_memory(mem);
    r = accel_make_irqchip(a, false, err);
    if (r == 0) {
        r = accel_set_memory(a, 0, 0, MEM_BYTES, mem, false, err);
    }
    if (r < 0) {
        return r;
    }
    fd = accel_vm_ioctl(a, KVM_CREATE_VCPU, NULL);
    run = fd >= 0 ? p->mmap(a->run_size, fd, 0) : MAP_FAILED;
    if (run == MAP_FAILED) {
        return err_set(err, EIO, "it cannot create a vCPU");
    }
    cpuid->h.nent = MAX_CPUID;
    if (accel_sys_ioctl(a, KVM_GET_SUPPORTED_CPUID, cpuid) < 0 ||
        p->ioctl(fd, KVM_SET_CPUID2, cpuid) < 0) {
        return err_set(err, EIO, "it does not tell CPU features");
    }
    for (uint32_t i = 0; i < cpuid->h.nent; i++) {
        xsave |= cpuid->e[i].function == 1 && (cpuid->e[i].ecx & (1u << 26)) != 0;
    }
    r = set_registers(a, fd, xsave);
    return r < 0 ? err_set(err, -r, "it does not take a 64-bit state: %s", strerror(-r))
                 : run_guest(a, fd, run, err);
}

/* In a child, so that neither a crash nor a hang is ours. */
static void child(const struct accel_provider *p, int fd)
{
    CLEANUP(err_freep) struct err *err = NULL;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (probe(p, &err) < 0) {
        (void)!write(fd, err->text, strlen(err->text));
        _exit(1);
    }
    _exit(0);
}

void probe_run(const struct accel_provider *p, struct probe_result *ret)
{
    int pipe_fd[2];
    struct pollfd poll_fd;
    ssize_t n = 0;
    int status = 1;
    pid_t pid;

    *ret = (struct probe_result) { .ok = false };
    if (p == &accel_kernel) { /* the common case of no KVM needs no child */
        int fd = p->open();

        if (fd < 0) {
            (void)snprintf(ret->why, sizeof(ret->why), "/dev/kvm: %s", strerror(errno));
            return;
        }
        (void)p->close(fd);
    }
    if (pipe(pipe_fd) < 0) {
        (void)snprintf(ret->why, sizeof(ret->why), "no pipe for the test: %s", strerror(errno));
        return;
    }
    pid = fork();
    if (pid == 0) {
        (void)close(pipe_fd[0]);
        child(p, pipe_fd[1]);
    }
    (void)close(pipe_fd[1]);
    poll_fd = (struct pollfd) { .fd = pipe_fd[0], .events = POLLIN };
    if (pid < 0) {
        (void)snprintf(ret->why, sizeof(ret->why), "no process for the test: %s", strerror(errno));
    } else if (poll(&poll_fd, 1, TIME_LIMIT_MSEC) == 0) {
        (void)kill(pid, SIGKILL);
        (void)snprintf(ret->why, sizeof(ret->why), "a 64-bit test guest hangs");
        (void)waitpid(pid, NULL, 0);
    } else {
        n = read(pipe_fd[0], ret->why, sizeof(ret->why) - 1);
        ret->why[n > 0 ? n : 0] = '\0';
        (void)waitpid(pid, &status, 0);
        ret->ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (!ret->ok && n <= 0) {
            (void)snprintf(ret->why, sizeof(ret->why), "it crashes on a 64-bit test guest");
        }
    }
    (void)close(pipe_fd[0]);
}

/* "BOOT-ID DEVICE-INODE ok" or "... why": another device node means another test. */
static char *cache_key(void)
{
    AUTO_FREE char *id = NULL;
    size_t len;

    if (file_slurp("/proc/sys/kernel/random/boot_id", 128, &id, &len) < 0) {
        return NULL;
    }
    id[strcspn(id, "\n")] = '\0';
    return str_format("%s %s %u ", id, VIREO_VERSION, (unsigned)geteuid());
}

void probe_run_cached(const struct accel_provider *p, struct probe_result *ret)
{
    AUTO_FREE char *dir = path_of(PATH_CACHE, false, NULL);
    AUTO_FREE char *path = path_of(PATH_CACHE, false, "kvm-probe");
    AUTO_FREE char *key = cache_key();
    AUTO_FREE char *text = NULL;
    size_t len;

    if (access("/dev/kvm", R_OK | W_OK) < 0) {
        probe_run(p, ret); /* quick, and may change at any time */
        return;
    }
    if (key != NULL && path != NULL && file_slurp(path, 1024, &text, &len) == 0 &&
        str_starts(text, key)) {
        const char *value = text + strlen(key);

        *ret = (struct probe_result) { .ok = str_eq(value, "ok"), .cached = true };
        (void)snprintf(ret->why, sizeof(ret->why), "%s", value);
        return;
    }
    probe_run(p, ret);
    if (key != NULL && path != NULL && path_make_folders(dir, 0700, NULL) == 0) {
        AUTO_FREE char *line = str_format("%s%s", key, ret->ok ? "ok" : ret->why);

        (void)!file_replace(path, line, line != NULL ? strlen(line) : 0, 0600);
    }
}
