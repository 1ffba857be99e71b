/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests made of random bytes: code, descriptor tables, page tables, control registers. Whatever
 * they do, KVM_RUN returns with an exit or when it is asked to, and the process lives.
 *
 * VIREO_SOAK=n: so many guests; VIREO_SEED: a start.
 */
#include "guest.h"

#include "base/bytes.h"
#include "vireo/kvm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

enum { GUESTS = 60, EXITS = 300 };

static uint64_t rng;
static struct kvm_run *volatile current;

static uint64_t rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng;
}

static void kick(int sig)
{
    (void)sig;
    if (current != NULL) {
        current->immediate_exit = 1;
    }
}

/* Opcodes that lead somewhere: system instructions, string and x87 operations, prefixes. */
static void random_code(uint8_t *p, unsigned n)
{
    static const uint8_t favourites[] = { 0x0f, 0x0f, 0x66, 0x67, 0xf3, 0xf2, 0xf0, 0x48,
                                          0xc4, 0xc5, 0xa4, 0xa5, 0xaa, 0x6c, 0x6e, 0xcf,
                                          0x8e, 0x22, 0x01, 0x30, 0xae, 0xc7, 0xd9, 0xdd,
                                          0xff, 0x9a, 0xea, 0xcb, 0x9d, 0xfb };

    for (unsigned i = 0; i < n; i++) {
        uint64_t r = rnd();

        p[i] = (r & 0x300) == 0 ? favourites[(r >> 16) % sizeof(favourites)] : (uint8_t)r;
        if (p[i] == 0xf4 && (r & 0xc000) != 0) {
            p[i] = 0x90;
        }
    }
}

static void scatter(struct guest *g, uint32_t at, uint32_t len, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g->ram[at + rnd() % len] ^= (uint8_t)(1u << (rnd() & 7));
    }
}

static void random_state(struct guest *g)
{
    struct kvm_regs r;
    struct kvm_sregs s;
    uint64_t *reg = (uint64_t *)&r;

    guest_get_regs(g, &r);
    for (unsigned i = 0; i < 16; i++) {
        static const uint64_t places[] = { GUEST_DATA, GUEST_STACK, GUEST_MMIO, GUEST_GDT,
                                           GUEST_PT,   GUEST_CODE,  0,          UINT64_MAX - 8 };
        uint64_t v = rnd();

        reg[i] = (v & 3) == 0 ? v : places[v >> 8 & 7] + (v >> 16 & 0xff);
    }
    r.rsp = GUEST_STACK;
    r.rflags = (rnd() & 0x3f7dd5) | 2;
    r.rflags &= ~UINT64_C(0x20000);
    guest_set_regs(g, &r);
    guest_get_sregs(g, &s);
    if (g->mode != GUEST_REAL && (rnd() & 3) == 0) {
        s.cr4 |= rnd() & 0x370690;
    }
    guest_set_sregs(g, &s);
}

static void one_guest(unsigned n)
{
    struct itimerval soon = { .it_value.tv_usec = 3000, .it_interval.tv_usec = 3000 };
    struct itimerval off = { 0 };
    struct guest g;
    unsigned kicks = 0;

    guest_init(&g, (enum guest_mode)(n % 3), (n & 4) != 0);
    random_code(g.ram + GUEST_CODE, 0x4000);
    if ((n & 8) != 0) {
        random_code(g.ram + GUEST_STUBS, 256 * 8);
    }
    scatter(&g, GUEST_GDT, 0x100, n & 16 ? 20 : 0);
    scatter(&g, GUEST_PT, 0x1000, n & 16 ? 30 : 0);
    scatter(&g, GUEST_PML4, 0x3000, n & 32 ? 10 : 0);
    random_state(&g);
    current = g.run;
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    for (unsigned k = 0; k < EXITS && kicks < 2; k++) {
        int ret = vireo_kvm_ioctl(g.vcpu, KVM_RUN, NULL);

        if (ret < 0) {
            assert_int_equal(errno, EINTR);
            g.run->immediate_exit = 0;
            kicks++;
            continue;
        }
        if (g.run->exit_reason == KVM_EXIT_IO) {
            uint8_t *data = (uint8_t *)g.run + g.run->io.data_offset;

            if (g.run->io.direction == KVM_EXIT_IO_IN) {
                le32_put(data, (uint32_t)rnd());
            }
        } else if (g.run->exit_reason == KVM_EXIT_MMIO) {
            le64_put(g.run->mmio.data, rnd());
        } else if (g.run->exit_reason != KVM_EXIT_HLT) {
            break; /* shutdown, or code in a device */
        }
    }
    assert_int_equal(setitimer(ITIMER_REAL, &off, NULL), 0);
    current = NULL;
    guest_done(&g);
}

static void test_hostile(void **state)
{
    const char *soak = getenv("VIREO_SOAK"), *seed = getenv("VIREO_SEED");
    struct sigaction sa = { .sa_handler = kick };
    unsigned long n = soak != NULL ? strtoul(soak, NULL, 0) : GUESTS;

    (void)state;
    if (soak != NULL && n < 10000) {
        n = 10000;
    }
    rng = seed != NULL ? strtoull(seed, NULL, 0) : 20261121;
    printf("%lu guests, VIREO_SEED=%llu\n", n, (unsigned long long)rng);
    assert_int_equal(sigaction(SIGALRM, &sa, NULL), 0);
    for (unsigned long i = 0; i < n; i++) {
        one_guest((unsigned)i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_hostile) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
