/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ui.c - QMP commands about screen, keyboard and pointer (schema/ui.json). */
#include "base/str.h"
#include "os/fd.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/command.h"
#include "vmm/ui/display.h"
#include "vmm/ui/input.h"
#include "vmm/ui/vnc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

int qmp_do_screendump(struct machine *m, struct json_object *args, struct json_object **ret,
                      struct err **err)
{
    const char *filename = NULL;
    const char *format = "ppm";
    AUTO_FD int fd = -1;

    (void)ret;
    (void)!json_get_str(args, "filename", &filename, NULL);
    (void)!json_get_str(args, "format", &format, NULL);
    if (!str_eq(format, "ppm") && !str_eq(format, "png")) {
        return err_set(err, EINVAL, "Invalid parameter '%s'", format);
    }
    if (m->display == NULL) {
        return err_set(err, ENODEV, "There is no console to take a screendump from");
    }
    fd = machine_open_file(m, filename, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0) {
        return err_set(err, -fd, "failed to open file '%s': %s", filename, strerror(-fd));
    }
    return display_save(m->display, fd, format, err);
}

/* {"type": "qcode", "data": "ret"} or {"type": "number", "data": 28}. */
static int parse_key(struct json_object *o, unsigned *ret, struct err **err)
{
    const char *type = NULL;
    const char *name = NULL;
    int64_t number = 0;

    if (json_get_str(o, "type", &type, err) < 0) {
        return -EINVAL;
    }
    if (str_eq(type, "number")) {
        if (json_get_i64(o, "data", &number, err) < 0 || number <= 0 || number > 0xff) {
            return err_set(err, EINVAL, "Invalid key number");
        }
        *ret = (unsigned)number;
        return 0;
    }
    if (json_get_str(o, "data", &name, err) < 0) {
        return -EINVAL;
    }
    *ret = input_key_by_name(name);
    return *ret != 0 ? 0 : err_set(err, EINVAL, "Invalid parameter '%s'", name);
}

int qmp_do_send_key(struct machine *m, struct json_object *args, struct json_object **ret,
                    struct err **err)
{
    struct json_object *keys = json_member(args, "keys");
    unsigned codes[16];
    size_t n;

    (void)ret;
    if (!json_object_is_type(keys, json_type_array) ||
        (n = json_object_array_length(keys)) > sizeof(codes) / sizeof(codes[0])) {
        return err_set(err, EINVAL, "Parameter 'keys' must be a list of at most 16 keys");
    }
    for (size_t i = 0; i < n; i++) {
        int r = parse_key(json_object_array_get_idx(keys, i), &codes[i], err);

        if (r < 0) {
            return r;
        }
    }
    for (size_t i = 0; i < n; i++) {
        input_key(m, codes[i], true);
    }
    while (n-- > 0) {
        input_key(m, codes[n], false);
    }
    return 0;
}

struct pointer {
    int x, y, dx, dy, dz;
    bool absolute, moved;
};

static int one_event(struct machine *m, struct json_object *e, struct pointer *p, struct err **err)
{
    static const struct {
        const char *name;
        unsigned bit;
    } buttons[] = { { "left", INPUT_LEFT }, { "right", INPUT_RIGHT }, { "middle", INPUT_MIDDLE } };
    const char *type = NULL;
    const char *axis = NULL;
    const char *button = NULL;
    struct json_object *data = json_member(e, "data");
    bool down = false;
    int64_t value = 0;
    unsigned key;

    if (json_get_str(e, "type", &type, err) < 0 || data == NULL) {
        return err_set(err, EINVAL, "an event needs type and data");
    }
    if (str_eq(type, "key")) {
        int r = parse_key(json_member(data, "key"), &key, err);

        if (r == 0) {
            (void)!json_get_bool(data, "down", &down, NULL);
            input_key(m, key, down);
        }
        return r;
    }
    if (str_eq(type, "btn")) {
        (void)!json_get_bool(data, "down", &down, NULL);
        if (json_get_str(data, "button", &button, err) < 0) {
            return -EINVAL;
        }
        for (size_t i = 0; i < sizeof(buttons) / sizeof(buttons[0]); i++) {
            if (str_eq(buttons[i].name, button)) {
                m->pointer_buttons = down ? m->pointer_buttons | buttons[i].bit
                                          : m->pointer_buttons & ~buttons[i].bit;
            }
        }
        p->dz += down && str_eq(button, "wheel-up") ? -1 : down && str_eq(button, "wheel-down");
        p->moved = true;
        return 0;
    }
    if ((!str_eq(type, "abs") && !str_eq(type, "rel")) ||
        json_get_str(data, "axis", &axis, err) < 0 ||
        json_get_i64(data, "value", &value, err) < 0) {
        return err_set(err, EINVAL, "Invalid parameter '%s'", type);
    }
    p->moved = true;
    if (str_eq(type, "abs")) {
        p->absolute = true;
        *(str_eq(axis, "x") ? &p->x : &p->y) = (int)(value < 0               ? 0
                                                     : value > INPUT_ABS_MAX ? INPUT_ABS_MAX
                                                                             : value);
    } else {
        *(str_eq(axis, "x") ? &p->dx : &p->dy) += (int)value;
    }
    return 0;
}

int qmp_do_input_send_event(struct machine *m, struct json_object *args, struct json_object **ret,
                            struct err **err)
{
    struct json_object *events = json_member(args, "events");
    struct pointer p = { .x = m->pointer_x, .y = m->pointer_y };

    (void)ret;
    if (!json_object_is_type(events, json_type_array)) {
        return err_set(err, EINVAL, "Invalid parameter type for 'events', expected: array");
    }
    for (size_t i = 0; i < json_object_array_length(events); i++) {
        int r = one_event(m, json_object_array_get_idx(events, i), &p, err);

        if (r < 0) {
            return r;
        }
    }
    if (p.moved && (p.absolute || input_has_absolute(m))) {
        input_pointer(m, p.x, p.y, p.dz, m->pointer_buttons,
                      m->display != NULL ? m->display->width : 640,
                      m->display != NULL ? m->display->height : 480);
    } else if (p.moved) {
        input_move(m, p.dx, p.dy, p.dz, m->pointer_buttons);
    }
    return 0;
}

int qmp_do_query_vnc(struct machine *m, struct json_object *args, struct json_object **ret,
                     struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_object();
    (void)json_add_bool(*ret, "enabled", m->vnc != NULL);
    if (m->vnc != NULL) {
        (void)json_add_str(*ret, "host", vnc_host(m->vnc));
        (void)json_add_str(*ret, "service", vnc_service(m->vnc));
        (void)json_add_str(*ret, "family",
                           strchr(vnc_host(m->vnc), '/') != NULL   ? "unix"
                           : strchr(vnc_host(m->vnc), ':') != NULL ? "ipv6"
                                                                   : "ipv4");
        (void)json_add_str(*ret, "auth", "none");
        (void)json_add(*ret, "clients", json_object_new_array());
    }
    return 0;
}

int qmp_do_set_password(struct machine *m, struct json_object *args, struct json_object **ret,
                        struct err **err)
{
    const char *protocol = NULL;
    const char *password = NULL;

    (void)ret;
    (void)!json_get_str(args, "protocol", &protocol, NULL);
    (void)!json_get_str(args, "password", &password, NULL);
    if (!str_eq(protocol, "vnc") || m->vnc == NULL) {
        return err_set(err, EINVAL, "there is no %s server", protocol);
    }
    return vnc_set_password(m->vnc, password, err);
}

int qmp_do_add_client(struct machine *m, struct json_object *args, struct json_object **ret,
                      struct err **err)
{
    const char *protocol = NULL;
    const char *name = NULL;
    int fd;

    (void)ret;
    (void)!json_get_str(args, "protocol", &protocol, NULL);
    (void)!json_get_str(args, "fdname", &name, NULL);
    if (!str_eq(protocol, "vnc") || m->vnc == NULL) {
        return err_set(err, EINVAL, "there is no %s server", protocol);
    }
    fd = machine_take_fd(m, name);
    if (fd < 0) {
        return err_set(err, ENOENT, "File descriptor named '%s' not found", name);
    }
    vnc_add_client(m->vnc, fd);
    return 0;
}
