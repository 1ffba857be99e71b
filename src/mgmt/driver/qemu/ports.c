/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/ports.h"

#include "rpc/fault.h"

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

static uint8_t taken[65536 / 8];

/* Bindable now, on IPv4 and IPv6. */
static bool free_now(unsigned port)
{
    AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int one = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    return fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0;
}

int ports_take(unsigned first, unsigned last, unsigned *ret, struct err **err)
{
    for (unsigned p = first; p <= last; p++) {
        if (!(taken[p / 8] & (1u << (p % 8))) && free_now(p)) {
            ports_mark(p);
            *ret = p;
            return 0;
        }
    }
    return fault(err, DOM_QEMU, INTERNAL_ERROR, "Unable to find an unused port in range '%u-%u'",
                 first, last);
}

void ports_mark(unsigned port)
{
    if (port > 0 && port < 65536) {
        taken[port / 8] |= (uint8_t)(1u << (port % 8));
    }
}

void ports_give_back(unsigned port)
{
    if (port > 0 && port < 65536) {
        taken[port / 8] &= (uint8_t) ~(1u << (port % 8));
    }
}
