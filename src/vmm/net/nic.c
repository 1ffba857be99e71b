/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/net/nic.h"

#include "vmm/net/netdev.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int nic_parse_mac(const char *text, uint8_t mac[NIC_MAC_BYTES], struct err **err)
{
    static uint8_t next_mac = 0x56;
    unsigned v[NIC_MAC_BYTES];
    int end = 0;

    if (text == NULL) {
        const uint8_t made[NIC_MAC_BYTES] = { 0x52, 0x54, 0x00, 0x12, 0x34, next_mac++ };

        memcpy(mac, made, NIC_MAC_BYTES);
        return 0;
    }
    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &end) !=
            NIC_MAC_BYTES ||
        text[end] != '\0' || (v[0] & 1) != 0) {
        return err_set(err, EINVAL, "mac=%s is no unicast address", text);
    }
    for (unsigned i = 0; i < NIC_MAC_BYTES; i++) {
        mac[i] = (uint8_t)v[i];
    }
    return 0;
}

int nic_attach(struct machine *m, const char *netdev_id,
               bool (*receive)(void *arg, const uint8_t *frame, size_t len),
               void (*ready)(void *arg), void *arg, struct netdev **ret, struct err **err)
{
    struct netdev *nd;

    if (netdev_id == NULL) {
        return err_set(err, EINVAL, "netdev= is missing");
    }
    nd = netdev_find(m, netdev_id);
    if (nd == NULL) {
        return err_set(err, ENOENT, "there is no netdev '%s'", netdev_id);
    }
    if (nd->receive != NULL) {
        return err_set(err, EBUSY, "netdev '%s' is in use by another card", netdev_id);
    }
    nd->receive = receive;
    nd->ready = ready;
    nd->arg = arg;
    *ret = nd;
    return 0;
}

void nic_detach(struct netdev *nd)
{
    if (nd != NULL) {
        nd->receive = NULL;
        nd->ready = NULL;
    }
}
