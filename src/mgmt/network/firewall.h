/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * firewall.h - a network's rules, in nftables tables of our own ("vireo_NETWORK"): nobody else's
 * rules are touched, and one command takes them away.
 */
#pragma once

#include "base/err.h"

struct network;

int firewall_add(struct network *n, struct err **err) MUST_CHECK;
void firewall_remove(struct network *n);
