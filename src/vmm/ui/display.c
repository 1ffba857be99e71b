/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/ui/display.h"

#include "base/str.h"
#include "os/dynlib.h"
#include "os/fd.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <string.h>

DYNLIB_POINTER(png_image_write_to_memory)

int display_resize(struct display *d, unsigned width, unsigned height)
{
    uint32_t *pixels;

    if (width == 0 || height == 0 || width > DISPLAY_MAX || height > DISPLAY_MAX) {
        return -EINVAL;
    }
    if (d->pixels != NULL && width == d->width && height == d->height) {
        return 0;
    }
    pixels = calloc((size_t)width * height, sizeof(*pixels));
    if (pixels == NULL) {
        return -ENOMEM;
    }
    free(d->pixels);
    d->pixels = pixels;
    d->width = width;
    d->height = height;
    return 0;
}

void display_done(struct display *d)
{
    free(d->pixels);
    d->pixels = NULL;
}

void display_attach(struct machine *m, struct display *d)
{
    static const struct dynlib_symbol symbols[] = { DYNLIB_SYMBOL(png_image_write_to_memory) };
    CLEANUP(err_freep) struct err *absent = NULL; /* told of when a PNG is wanted */

    (void)!dynlib_open("libpng16.so.16", symbols, 1, &absent);
    if (m->display == NULL) {
        m->display = d;
    }
}

void display_detach(struct machine *m, struct display *d)
{
    if (m->display == d) {
        m->display = NULL;
    }
}

void display_refresh(struct display *d)
{
    if (d->refresh != NULL) {
        d->refresh(d->arg);
    }
}

static int save_ppm(const struct display *d, int fd, struct err **err)
{
    char head[64];
    int n = snprintf(head, sizeof(head), "P6\n%u %u\n255\n", d->width, d->height);
    size_t pixels = (size_t)d->width * d->height;
    AUTO_FREE uint8_t *rgb = malloc(pixels * 3);
    int r;

    if (rgb == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    for (size_t i = 0; i < pixels; i++) {
        rgb[i * 3] = (uint8_t)(d->pixels[i] >> 16);
        rgb[i * 3 + 1] = (uint8_t)(d->pixels[i] >> 8);
        rgb[i * 3 + 2] = (uint8_t)d->pixels[i];
    }
    r = fd_write_all(fd, head, (size_t)n);
    if (r == 0) {
        r = fd_write_all(fd, rgb, pixels * 3);
    }
    return r < 0 ? err_set(err, -r, "cannot write the picture: %s", strerror(-r)) : 0;
}

static int save_png(const struct display *d, int fd, struct err **err)
{
    png_image image = {
        .version = PNG_IMAGE_VERSION,
        .width = d->width,
        .height = d->height,
        .format = PNG_FORMAT_RGB,
    };
    size_t pixels = (size_t)d->width * d->height;
    AUTO_FREE uint8_t *rgb = malloc(pixels * 3);
    AUTO_FREE void *out = NULL;
    png_alloc_size_t len = 0;
    int r;

    if (dyn_png_image_write_to_memory == NULL) {
        return err_set(err, ENOENT, "no PNG without the package libpng16-16: use format ppm");
    }
    if (rgb == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    for (size_t i = 0; i < pixels; i++) {
        rgb[i * 3] = (uint8_t)(d->pixels[i] >> 16);
        rgb[i * 3 + 1] = (uint8_t)(d->pixels[i] >> 8);
        rgb[i * 3 + 2] = (uint8_t)d->pixels[i];
    }
    len = PNG_IMAGE_PNG_SIZE_MAX(image);
    out = malloc(len);
    if (out == NULL || dyn_png_image_write_to_memory(&image, out, &len, 0, rgb, 0, NULL) == 0) {
        return err_set(err, ENOMEM, "cannot make the PNG: %s", image.message);
    }
    r = fd_write_all(fd, out, len);
    return r < 0 ? err_set(err, -r, "cannot write the picture: %s", strerror(-r)) : 0;
}

int display_save(struct display *d, int fd, const char *format, struct err **err)
{
    display_refresh(d);
    if (d->pixels == NULL) {
        return err_set(err, ENODEV, "the display has no picture yet");
    }
    return str_eq(format, "png") ? save_png(d, fd, err) : save_ppm(d, fd, err);
}
