/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/random.h"

#include <stdint.h>
#include <sys/random.h>

void random_bytes(void *out, size_t len)
{
    uint8_t *p = out;

    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);

        if (n > 0) { /* fails only when a signal comes before the first byte */
            p += n;
            len -= (size_t)n;
        }
    }
}
