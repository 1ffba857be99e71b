/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mc146818.h - what a board puts into the clock's memory for the firmware. */
#pragma once

#include <stdint.h>

struct device;

void rtc_set_nvram(struct device *dev, unsigned index, uint8_t value);
