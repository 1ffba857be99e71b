/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-kvm.c - KVM's API, by small guests, on our engine and, where it opens, on the kernel's
 * /dev/kvm: the same test, the same answers.
 */
#include "vireo/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"

enum { RAM_BYTES = 1 << 20, CODE_AT = 0x1000 };

struct provider {
    int (*open)(void);
    int (*ioctl)(int fd, unsigned long request, void *arg);
    int (*close)(int fd);
};

static int kernel_open(void)
{
    return open("/dev/kvm", O_RDWR | O_CLOEXEC);
}

static int kernel_ioctl(int fd, unsigned long request, void *arg)
{
    return ioctl(fd, request, arg);
}

static const struct provider ours = { vireo_kvm_open, vireo_kvm_ioctl, vireo_kvm_close };
static const struct provider kernels = { kernel_open, kernel_ioctl, close };

struct guest {
    const struct provider *p;
    int sys, vm, vcpu;
    uint8_t *ram;
    struct kvm_run *run;
    size_t run_bytes;
};

static void *number(uintptr_t n)
{
    return (void *)n;
}

static int vm_call(struct guest *g, unsigned long request, void *arg)
{
    return g->p->ioctl(g->vm, request, arg);
}

static int vcpu_call(struct guest *g, unsigned long request, void *arg)
{
    return g->p->ioctl(g->vcpu, request, arg);
}

/* A VM with 1 MiB of memory, the code in it, and one vCPU in real mode at its start. */
static void guest_init(struct guest *g, const struct provider *p, const uint8_t *code, size_t len,
                       bool irqchip)
{
    struct kvm_userspace_memory_region slot = { .memory_size = RAM_BYTES };
    struct kvm_sregs sregs;
    struct kvm_regs regs = { .rip = CODE_AT, .rflags = 2, .rsp = 0x8000 };

    *g = (struct guest) { .p = p };
    g->sys = p->open();
    assert_true(g->sys >= 0);
    assert_int_equal(p->ioctl(g->sys, KVM_GET_API_VERSION, NULL), KVM_API_VERSION);
    g->vm = p->ioctl(g->sys, KVM_CREATE_VM, NULL);
    assert_true(g->vm >= 0);
    g->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(g->ram != MAP_FAILED);
    memcpy(g->ram + CODE_AT, code, len);
    slot.userspace_addr = (uintptr_t)g->ram;
    assert_int_equal(vm_call(g, KVM_SET_USER_MEMORY_REGION, &slot), 0);
    if (irqchip) {
        assert_int_equal(vm_call(g, KVM_CREATE_IRQCHIP, NULL), 0);
    }
    g->vcpu = vm_call(g, KVM_CREATE_VCPU, number(0));
    assert_true(g->vcpu >= 0);
    g->run_bytes = (size_t)p->ioctl(g->sys, KVM_GET_VCPU_MMAP_SIZE, NULL);
    g->run = mmap(NULL, g->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
    assert_true(g->run != MAP_FAILED);
    assert_int_equal(vcpu_call(g, KVM_GET_SREGS, &sregs), 0);
    sregs.cs.selector = 0;
    sregs.cs.base = 0;
    assert_int_equal(vcpu_call(g, KVM_SET_SREGS, &sregs), 0);
    assert_int_equal(vcpu_call(g, KVM_SET_REGS, &regs), 0);
}

static void guest_done(struct guest *g)
{
    (void)munmap(g->run, g->run_bytes);
    (void)g->p->close(g->vcpu);
    (void)g->p->close(g->vm);
    (void)g->p->close(g->sys);
    (void)munmap(g->ram, RAM_BYTES);
}

static void expect_exit(struct guest *g, uint32_t reason)
{
    assert_int_equal(vcpu_call(g, KVM_RUN, NULL), 0);
    assert_int_equal(g->run->exit_reason, reason);
}

/* ---- the tests, each for one provider ---- */

/* in al,0x10; add al,bl... out 0x11,al; hlt */
static void ports(const struct provider *p)
{
    static const uint8_t code[] = { 0xe4, 0x10, 0x04, 0x05, 0xe6, 0x11, 0xf4 };
    struct guest g;
    uint8_t *data;

    guest_init(&g, p, code, sizeof(code), false);
    expect_exit(&g, KVM_EXIT_IO);
    assert_int_equal(g.run->io.direction, KVM_EXIT_IO_IN);
    assert_int_equal(g.run->io.port, 0x10);
    assert_int_equal(g.run->io.size, 1);
    data = (uint8_t *)g.run + g.run->io.data_offset;
    *data = 0x20;
    expect_exit(&g, KVM_EXIT_IO);
    assert_int_equal(g.run->io.direction, KVM_EXIT_IO_OUT);
    assert_int_equal(g.run->io.port, 0x11);
    data = (uint8_t *)g.run + g.run->io.data_offset;
    assert_int_equal(*data, 0x25);
    expect_exit(&g, KVM_EXIT_HLT);
    guest_done(&g);
}

/* mov ax,0xf000; mov ds,ax; mov eax,[0xfff0 -> 0xffff0 is RAM]; here: ds=0xffff, [0x20] = 0x100010
 * is MMIO */
static void mmio(const struct provider *p)
{
    static const uint8_t code[] = {
        0xb8, 0xff, 0xff,       /* mov ax,0xffff */
        0x8e, 0xd8,             /* mov ds,ax */
        0x66, 0xa1, 0x20, 0x00, /* mov eax,[0x20] */
        0x66, 0x40,             /* inc eax */
        0x66, 0xa3, 0x24, 0x00, /* mov [0x24],eax */
        0xf4,
    };
    struct guest g;
    uint32_t v = 0x11223344;

    guest_init(&g, p, code, sizeof(code), false);
    expect_exit(&g, KVM_EXIT_MMIO);
    assert_int_equal(g.run->mmio.phys_addr, 0x100010);
    assert_int_equal(g.run->mmio.len, 4);
    assert_int_equal(g.run->mmio.is_write, 0);
    memcpy(g.run->mmio.data, &v, sizeof(v));
    expect_exit(&g, KVM_EXIT_MMIO);
    assert_int_equal(g.run->mmio.phys_addr, 0x100014);
    assert_int_equal(g.run->mmio.is_write, 1);
    memcpy(&v, g.run->mmio.data, sizeof(v));
    assert_int_equal(v, 0x11223345);
    expect_exit(&g, KVM_EXIT_HLT);
    guest_done(&g);
}

/* Registers travel in kvm_run, both ways; what is unknown is refused. */
static void sync_regs(const struct provider *p)
{
    static const uint8_t code[] = { 0x40, 0xe6, 0x11, 0xf4 }; /* inc ax; out 0x11,al; hlt */
    struct guest g;

    guest_init(&g, p, code, sizeof(code), false);
    assert_int_equal(p->ioctl(g.sys, KVM_CHECK_EXTENSION, number(KVM_CAP_SYNC_REGS)), 7);
    g.run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
    expect_exit(&g, KVM_EXIT_IO);
    assert_int_equal(g.run->s.regs.regs.rax, 1);
    assert_int_equal(g.run->s.regs.sregs.cs.base, 0);
    g.run->s.regs.regs.rip = CODE_AT;
    g.run->s.regs.regs.rax = 0x41;
    g.run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
    expect_exit(&g, KVM_EXIT_IO);
    assert_int_equal(*((uint8_t *)g.run + g.run->io.data_offset), 0x42);
    assert_int_equal(g.run->kvm_dirty_regs, 0);
    g.run->kvm_valid_regs = 1 << 5;
    assert_int_not_equal(vcpu_call(&g, KVM_RUN, NULL), 0);
    guest_done(&g);
}

/* The file of statistics counts exits, and nobody can write there. */
static void statistics(const struct provider *p)
{
    static const uint8_t code[] = { 0xe6, 0x11, 0xe6, 0x11, 0xf4 };
    struct kvm_stats_header h;
    struct guest g;
    uint8_t file[16384];
    int fd;
    bool found = false;

    guest_init(&g, p, code, sizeof(code), false);
    fd = vcpu_call(&g, KVM_GET_STATS_FD, NULL);
    assert_true(fd >= 0);
    expect_exit(&g, KVM_EXIT_IO);
    expect_exit(&g, KVM_EXIT_IO);
    assert_true(pread(fd, file, sizeof(file), 0) > (ssize_t)sizeof(h));
    memcpy(&h, file, sizeof(h));
    assert_int_equal(h.flags, 0);
    for (uint32_t i = 0; i < h.num_desc; i++) {
        struct kvm_stats_desc d;
        const uint8_t *at = file + h.desc_offset + (size_t)i * (sizeof(d) + h.name_size);
        uint64_t value;

        memcpy(&d, at, sizeof(d));
        memcpy(&value, file + h.data_offset + d.offset, sizeof(value));
        if (strcmp((const char *)at + sizeof(d), "io_exits") == 0) {
            assert_int_equal(value, 2);
            found = true;
        }
    }
    assert_true(found);
    assert_true(write(fd, file, 8) < 0);
    (void)close(fd);
    fd = vm_call(&g, KVM_GET_STATS_FD, NULL);
    assert_true(fd >= 0);
    assert_true(pread(fd, &h, sizeof(h), 0) == sizeof(h) && h.num_desc > 0);
    (void)close(fd);
    guest_done(&g);
}

/* rep outsb of three bytes is one exit with count 3, or three. */
static void string_output(const struct provider *p)
{
    static const uint8_t code[] = { 0xbe, 0x10, 0x10, 0xb9, 0x03, 0x00, 0xba, 0x99, 0x00, 0xf3,
                                    0x6e, 0xf4, 0,    0,    0,    0,    'a',  'b',  'c' };
    struct guest g;
    char got[4] = "";
    size_t n = 0;

    guest_init(&g, p, code, sizeof(code), false);
    while (n < 3) {
        expect_exit(&g, KVM_EXIT_IO);
        assert_int_equal(g.run->io.port, 0x99);
        assert_true(g.run->io.count <= 3 - n);
        memcpy(got + n, (uint8_t *)g.run + g.run->io.data_offset, g.run->io.count);
        n += g.run->io.count;
    }
    assert_string_equal(got, "abc");
    expect_exit(&g, KVM_EXIT_HLT);
    guest_done(&g);
}

/* With immediate_exit KVM_RUN completes the pending access and executes nothing. */
static void immediate_exit(const struct provider *p)
{
    static const uint8_t code[] = { 0xe4, 0x10, 0x90, 0xf4 };
    struct guest g;
    struct kvm_regs regs;

    guest_init(&g, p, code, sizeof(code), false);
    expect_exit(&g, KVM_EXIT_IO);
    *((uint8_t *)g.run + g.run->io.data_offset) = 0x42;
    g.run->immediate_exit = 1;
    errno = 0;
    assert_int_equal(vcpu_call(&g, KVM_RUN, NULL), -1);
    assert_int_equal(errno, EINTR);
    assert_int_equal(vcpu_call(&g, KVM_GET_REGS, &regs), 0);
    assert_int_equal(regs.rax & 0xff, 0x42);
    assert_int_equal(regs.rip, CODE_AT + 2);
    g.run->immediate_exit = 0;
    expect_exit(&g, KVM_EXIT_HLT);
    guest_done(&g);
}

static struct kvm_run *volatile kicked_run;

static void on_signal(int signo)
{
    (void)signo;
    kicked_run->immediate_exit = 1;
}

static void *kick_soon(void *arg)
{
    const struct timespec t = { .tv_nsec = 30000000 };

    (void)nanosleep(&t, NULL);
    (void)pthread_kill(*(pthread_t *)arg, SIGUSR1);
    return NULL;
}

/* A signal ends an endless loop. */
static void signal_kick(const struct provider *p)
{
    static const uint8_t code[] = { 0xeb, 0xfe };
    struct sigaction sa = { .sa_handler = on_signal };
    struct guest g;
    pthread_t self = pthread_self();
    pthread_t t;

    guest_init(&g, p, code, sizeof(code), false);
    kicked_run = g.run;
    (void)sigaction(SIGUSR1, &sa, NULL);
    assert_int_equal(pthread_create(&t, NULL, kick_soon, &self), 0);
    errno = 0;
    assert_int_equal(vcpu_call(&g, KVM_RUN, NULL), -1);
    assert_int_equal(errno, EINTR);
    (void)pthread_join(t, NULL);
    guest_done(&g);
}

/* A triple fault is a shutdown. */
static void shutdown(const struct provider *p)
{
    static const uint8_t code[] = { 0x0f, 0x01, 0x1e, 0x10, 0x10, 0x0f, 0x0b, 0, 0, 0, 0,
                                    0,    0,    0,    0,    0,    0,    0,    0, 0, 0, 0 };
    struct guest g;

    guest_init(&g, p, code, sizeof(code), false);
    expect_exit(&g, KVM_EXIT_SHUTDOWN);
    guest_done(&g);
}

/* The dirty log names the page that was written, once. */
static void dirty_log(const struct provider *p)
{
    static const uint8_t code[] = { 0xc6, 0x06, 0x05, 0x30, 0x77, 0xf4,
                                    0xc6, 0x06, 0x05, 0x50, 0x78, 0xf4 };
    uint64_t bitmap[RAM_BYTES / 4096 / 64];
    struct kvm_dirty_log log = { .dirty_bitmap = bitmap };
    struct kvm_userspace_memory_region slot = { .memory_size = RAM_BYTES,
                                                .flags = KVM_MEM_LOG_DIRTY_PAGES };
    struct guest g;

    guest_init(&g, p, code, sizeof(code), false);
    slot.userspace_addr = (uintptr_t)g.ram;
    assert_int_equal(vm_call(&g, KVM_SET_USER_MEMORY_REGION, &slot), 0);
    expect_exit(&g, KVM_EXIT_HLT);
    assert_int_equal(vm_call(&g, KVM_GET_DIRTY_LOG, &log), 0);
    assert_int_equal(bitmap[0], 1u << 3);
    expect_exit(&g, KVM_EXIT_HLT);
    assert_int_equal(vm_call(&g, KVM_GET_DIRTY_LOG, &log), 0);
    assert_int_equal(bitmap[0], 1u << 5);
    assert_int_equal(g.ram[0x3005], 0x77);
    guest_done(&g);
}

/* An irqfd wakes a halted vCPU through the PIC; the handler signals an ioeventfd. */
static void event_descriptors(const struct provider *p)
{
    static const uint8_t code[] = {
        0xfa,                                           /* cli */
        0xb0, 0x11, 0xe6, 0x20, 0xe6, 0xa0,             /* ICW1 to both PICs */
        0xb0, 0x20, 0xe6, 0x21, 0xb0, 0x28, 0xe6, 0xa1, /* ICW2: vectors 0x20, 0x28 */
        0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x02, 0xe6, 0xa1, /* ICW3 */
        0xb0, 0x01, 0xe6, 0x21, 0xe6, 0xa1,             /* ICW4 */
        0xb0, 0xdf, 0xe6, 0x21, 0xb0, 0xff, 0xe6, 0xa1, /* only IRQ 5 */
        0xc7, 0x06, 0x94, 0x00, 0x00, 0x11,             /* mov word [0x25*4],0x1100 */
        0xc7, 0x06, 0x96, 0x00, 0x00, 0x00,             /* mov word [0x25*4+2],0 */
        0xe6, 0x79,                                     /* out 0x79,al: ready */
        0xfb, 0xf4, 0xeb, 0xfd,                         /* sti; hlt; jmp hlt */
    };
    static const uint8_t handler[] = {
        0xb0, 0x5a, 0xe6, 0x77, /* out 0x77,al: the ioeventfd */
        0xe6, 0x78,             /* out 0x78,al: an exit */
        0xb0, 0x20, 0xe6, 0x20, 0xcf,
    };
    int irq = eventfd(0, EFD_CLOEXEC);
    int io = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct kvm_irqfd irqfd = { .fd = (uint32_t)irq, .gsi = 5 };
    struct kvm_ioeventfd ioeventfd = { .addr = 0x77,
                                       .len = 1,
                                       .fd = io,
                                       .datamatch = 0x5a,
                                       .flags =
                                           KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH };
    uint64_t one = 1;
    struct guest g;

    guest_init(&g, p, code, sizeof(code), true);
    memcpy(g.ram + 0x1100, handler, sizeof(handler));
    assert_int_equal(vm_call(&g, KVM_IRQFD, &irqfd), 0);
    assert_int_equal(vm_call(&g, KVM_IOEVENTFD, &ioeventfd), 0);
    expect_exit(&g, KVM_EXIT_IO);
    assert_int_equal(g.run->io.port, 0x79);
    assert_int_equal(write(irq, &one, sizeof(one)),
                     sizeof(one)); /* ICW1 would have cleared an earlier edge */
    expect_exit(&g, KVM_EXIT_IO);
    assert_int_equal(g.run->io.port, 0x78);
    assert_int_equal(read(io, &one, sizeof(one)), sizeof(one));
    guest_done(&g);
    (void)close(irq);
    (void)close(io);
}

/* What is set is what is got. */
static void state(const struct provider *p)
{
    static const uint8_t code[] = { 0xf4 };
    struct kvm_regs regs = { .rax = 1, .r15 = 0x123456789abcdef0, .rip = CODE_AT, .rflags = 0x2 };
    struct kvm_regs back;
    struct kvm_sregs sregs;
    struct kvm_sregs sregs2;
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry[2];
    } msrs = { .head.nmsrs = 2,
               .entry = { { .index = 0xc0000082, .data = 0xffffffff81000000 },
                          { .index = 0x277, .data = 0x0007040600070406 } } };
    struct guest g;

    guest_init(&g, p, code, sizeof(code), true);
    assert_int_equal(vcpu_call(&g, KVM_SET_REGS, &regs), 0);
    assert_int_equal(vcpu_call(&g, KVM_GET_REGS, &back), 0);
    assert_memory_equal(&regs, &back, sizeof(regs));
    assert_int_equal(vcpu_call(&g, KVM_GET_SREGS, &sregs), 0);
    sregs.fs.base = 0x12340;
    sregs.fs.selector = 0x1234;
    assert_int_equal(vcpu_call(&g, KVM_SET_SREGS, &sregs), 0);
    assert_int_equal(vcpu_call(&g, KVM_GET_SREGS, &sregs2), 0);
    assert_int_equal(sregs2.fs.base, 0x12340);
    assert_int_equal(vcpu_call(&g, KVM_SET_MSRS, &msrs), 2);
    msrs.entry[0].data = 0;
    msrs.entry[1].data = 0;
    assert_int_equal(vcpu_call(&g, KVM_GET_MSRS, &msrs), 2);
    assert_true(msrs.entry[0].data == 0xffffffff81000000);
    assert_true(msrs.entry[1].data == 0x0007040600070406);
    guest_done(&g);
}

/* Bad requests get KVM's errors and change nothing. */
static void bad_requests(const struct provider *p)
{
    static const uint8_t code[] = { 0xf4 };
    struct kvm_userspace_memory_region slot = { .slot = 1,
                                                .guest_phys_addr = 0x1001,
                                                .memory_size = 4096 };
    struct guest g;

    guest_init(&g, p, code, sizeof(code), false);
    slot.userspace_addr = (uintptr_t)g.ram;
    errno = 0;
    assert_int_equal(vm_call(&g, KVM_SET_USER_MEMORY_REGION, &slot), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(vm_call(&g, KVM_SET_USER_MEMORY_REGION, NULL), -1);
    assert_int_equal(errno, EFAULT);
    slot.guest_phys_addr = 0x1000;
    assert_int_equal(vm_call(&g, KVM_SET_USER_MEMORY_REGION, &slot), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(vm_call(&g, KVM_CREATE_VCPU, number(0)), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(vm_call(&g, _IO(KVMIO, 0xfe), NULL), -1);
    assert_int_equal(errno, ENOTTY);
    expect_exit(&g, KVM_EXIT_HLT);
    guest_done(&g);
}

#define BOTH(name)                                             \
    static void name##_ours(void **unused)                     \
    {                                                          \
        (void)unused;                                          \
        name(&ours);                                           \
    }                                                          \
    static void name##_kernels(void **unused)                  \
    {                                                          \
        int fd = kernel_open();                                \
        (void)unused;                                          \
        if (fd < 0 || getenv("VIREO_NO_KERNEL_KVM") != NULL) { \
            skip();                                            \
        }                                                      \
        (void)close(fd);                                       \
        name(&kernels);                                        \
    }

BOTH(ports)
BOTH(mmio)
BOTH(sync_regs)
BOTH(statistics)
BOTH(string_output)
BOTH(immediate_exit)
BOTH(signal_kick)
/* Some kernels' KVM without hardware below never ends this guest. */
static void shutdown_ours(void **unused)
{
    (void)unused;
    shutdown(&ours);
}

BOTH(dirty_log)
BOTH(event_descriptors)

BOTH(state)
BOTH(bad_requests)

int main(void)
{
#define PAIR(name) cmocka_unit_test(name##_ours), cmocka_unit_test(name##_kernels)
    const struct CMUnitTest tests[] = {
        PAIR(ports),         PAIR(mmio),
        PAIR(sync_regs),     PAIR(statistics),
        PAIR(string_output), PAIR(immediate_exit),
        PAIR(signal_kick),   cmocka_unit_test(shutdown_ours),
        PAIR(dirty_log),     PAIR(event_descriptors),
        PAIR(state),         PAIR(bad_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
