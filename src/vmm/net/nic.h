/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nic.h - what all network cards have: a back end and an address. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct machine;
struct netdev;

enum { NIC_MAC_BYTES = 6 };

/* "52:54:00:12:34:56", or the next free one of that series when text is NULL. */
int nic_parse_mac(const char *text, uint8_t mac[NIC_MAC_BYTES], struct err **err) MUST_CHECK;
/* Takes the back end for a card; receive, ready and arg as in struct netdev. */
int nic_attach(struct machine *m, const char *netdev_id,
               bool (*receive)(void *arg, const uint8_t *frame, size_t len),
               void (*ready)(void *arg), void *arg, struct netdev **ret, struct err **err)
    MUST_CHECK;
void nic_detach(struct netdev *nd);
