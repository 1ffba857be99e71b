/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tsc.c - finds the TSC's frequency: the counter is compared with CLOCK_MONOTONIC_RAW for two
 * milliseconds. The clock is read between two reads of the counter, and of several such triples the
 * tightest counts, so that the error is some ten nanoseconds: about as good as the crystal.
 *
 * (The kernel shows its own figure in the page of a perf event, but making one takes longer than
 * all the rest of a VM's set-up.)
 */
#include "engine/irqchip/tsc.h"

#include <pthread.h>
#include <time.h>

enum { WINDOW_NSEC = 2000000, SAMPLE_TRIES = 16 };

static uint32_t khz;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint64_t raw_nsec(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct sample {
    uint64_t ticks;
    uint64_t nsec;
};

static struct sample take_sample(void)
{
    struct sample best = { 0 };
    uint64_t best_width = UINT64_MAX;

    for (unsigned i = 0; i < SAMPLE_TRIES; i++) {
        uint64_t before = tsc_read();
        uint64_t nsec = raw_nsec();
        uint64_t width = tsc_read() - before;

        if (width < best_width) {
            best_width = width;
            best = (struct sample) { .ticks = before + width / 2, .nsec = nsec };
        }
    }
    return best;
}

static void measure(void)
{
    struct sample first = take_sample();
    struct sample last;

    do {
        last = take_sample();
    } while (last.nsec - first.nsec < WINDOW_NSEC);
    khz = (uint32_t)((last.ticks - first.ticks) * 1000000u / (last.nsec - first.nsec));
}

uint32_t tsc_khz(void)
{
    (void)pthread_once(&once, measure);
    return khz;
}
