/* Where the outline may be: cells between samples that are not all on one side of the threshold. */

#include "mask.h"

/* A pixel's first and last sample along an axis whose samples begin at `offset` and are `size`. */
static int64_t low(const Mask *mask, const Line *line, const Line *first, int64_t offset, int64_t size,
                   int64_t pixel) {
    int64_t sample = line->near[pixel];
    return mask->kind == TWICE ? clamp(first->near[sample] - offset, size - 1) : sample;
}

static int64_t high(const Mask *mask, const Line *line, const Line *first, int64_t offset, int64_t size,
                    int64_t pixel) {
    int64_t sample = line->far[pixel];
    return mask->kind == TWICE ? clamp(first->far[sample] - offset, size - 1) : sample;
}

int strips_of(Strips *strips, const Mask *mask, int along_rows) {
    const Line *line = along_rows ? &mask->rows : &mask->columns;
    const Line *first = along_rows ? &mask->first_rows : &mask->first_columns;
    int64_t offset = along_rows ? mask->top : mask->left, size = along_rows ? mask->height : mask->width;
    int64_t begin = mask->window[along_rows], end = mask->window[2 + along_rows];
    int64_t base = low(mask, line, first, offset, size, begin), strip = 0;
    strips->base = base;
    strips->count = low(mask, line, first, offset, size, end - 1) - base + 1;
    strips->reach = strips->enlarged = 0;
    strips->start = fresh(strips->count + 1, sizeof *strips->start);
    strips->cut = fresh(strips->count, 1);
    if (strips->start == NULL || strips->cut == NULL) return 0;
    strips->start[0] = begin;
    for (int64_t pixel = begin; pixel < end; pixel++) {
        int64_t sample = low(mask, line, first, offset, size, pixel) - base;
        int64_t reach = high(mask, line, first, offset, size, pixel) - base - sample;
        if (reach > strips->reach) strips->reach = reach;
        /* two strips of rows, one after the other, share a sample: where both are certain, they are on one side */
        if (along_rows && sample - strip > strips->reach) strips->reach = sample - strip;
        while (strip < sample) strips->start[++strip] = pixel;
    }
    strips->start[strips->count] = end;
    if (mask->kind != TWICE) return 1;
    for (strip = 0; strip < strips->count; strip++) {
        if (strips->start[strip] == strips->start[strip + 1]) continue;
        int64_t from = line->near[strips->start[strip]], to = line->far[strips->start[strip + 1] - 1] + 1;
        if (to - from > strips->enlarged) strips->enlarged = to - from;
        strips->cut[strip] = from < mask->crop[along_rows] || to > mask->crop[2 + along_rows];
    }
    return 1;
}

/* What is certain of each cell, [rows->count, columns->count]: 0 where the outline may be. `samples` has the bounds of
   certain samples, `zero` those of the values that pixels have: outside of the crop they are 0. */
uint8_t *cells_of(const Mask *mask, const Strips *rows, const Strips *columns, const float samples[2],
                  const float zero[2]) {
    const float below = samples[0], above = samples[1];
    int64_t wide = columns->count + columns->reach, tall = rows->count + rows->reach;
    uint8_t *codes = fresh(tall * wide, 1), *cells = fresh(rows->count * columns->count + 8, 1);
    uint8_t outside[2] = {IN | OUT, code(0, zero[0], zero[1])};  /* by whether there are zeros outside of the crop */
    uint8_t *sides = fresh(columns->count, 1);                /* of each column */
    if (codes == NULL || cells == NULL || sides == NULL) { free(codes), free(cells), free(sides); return NULL; }
    for (int64_t x = 0; x < columns->count; x++) sides[x] = outside[columns->cut[x]];
    for (int64_t y = 0; y < tall; y++) {
        const float *line = mask->samples + clamp(rows->base + y, mask->height - 1) * mask->stride + columns->base;
        uint8_t *restrict row = codes + y * wide;
        int64_t inner = mask->width - columns->base < wide ? mask->width - columns->base : wide;
        for (int64_t x = 0; x < inner; x++) row[x] = code(line[x], below, above);
        for (int64_t x = inner; x < wide; x++) row[x] = row[inner - 1];
    }
    for (int64_t y = 0; y < rows->count; y++) {
        uint8_t *restrict row = codes + y * wide, *restrict cell = cells + y * columns->count;
        for (int64_t i = 1; i <= rows->reach; i++) {
            const uint8_t *restrict next = row + i * wide;
            for (int64_t x = 0; x < wide; x++) row[x] &= next[x];
        }
        uint8_t edge = outside[rows->cut[y]];
        for (int64_t x = 0; x < columns->count; x++) cell[x] = row[x] & edge & sides[x];
        for (int64_t i = 1; i <= columns->reach; i++)
            for (int64_t x = 0; x < columns->count; x++) cell[x] &= row[x + i];
    }
    free(codes), free(sides);
    return cells;
}

/* The stretches of rows in which each strip of columns is uncertain, strip by strip; `first` [columns->count + 1] has
   where those of each begin, and their number. */
Stretch *stretches_of(const uint8_t *cells, const Strips *rows, const Strips *columns, int64_t *first) {
    int64_t wide = columns->count, room = 4 * wide, total = 0;
    typedef struct { int64_t column, from, to; } Found;
    Found *found = fresh(room, sizeof *found);
    int64_t *open = fresh(wide, sizeof *open);  /* one more than the number of each strip's last stretch */
    for (int64_t y = 0; y < rows->count && found && open; y++) {
        if (rows->start[y] == rows->start[y + 1]) continue;  /* no pixel begins at this sample */
        if (total + wide > room) {
            Found *larger = realloc(found, (size_t)(room = 2 * (total + wide)) * sizeof *found);
            if (larger == NULL) free(found);
            if ((found = larger) == NULL) break;
        }
        const uint8_t *row = cells + y * wide;
        for (int64_t start = 0; start < wide; start += 8) {
            uint64_t eight;
            memcpy(&eight, row + start, 8);
            if (((eight - 0x0101010101010101ull) & ~eight & 0x8080808080808080ull) == 0) continue;
            for (int64_t x = start; x < start + 8 && x < wide; x++) {
                if (row[x]) continue;
                if (open[x] && found[open[x] - 1].to == y) {
                    found[open[x] - 1].to = y + 1;
                } else {
                    found[total] = (Found){x, y, y + 1};
                    open[x] = ++total;
                    first[x + 1] += 1;
                }
            }
        }
    }
    Stretch *sorted = found && open ? fresh(total, sizeof *sorted) : NULL;
    if (sorted != NULL) {
        for (int64_t x = 0; x < wide; x++) { first[x + 1] += first[x]; open[x] = first[x]; }
        for (int64_t i = 0; i < total; i++) sorted[open[found[i].column]++] = (Stretch){found[i].from, found[i].to};
    }
    free(found), free(open);
    return sorted;
}

/* The largest absolute value, by its bits: so it needs no order of comparisons; what is no number is the largest. */
float magnitude(const Mask *mask, const Strips *rows, const Strips *columns) {
    int32_t largest = 0;
    int64_t end = clamp(columns->base + columns->count + columns->reach, mask->width);
    for (int64_t y = 0; y < rows->count + rows->reach; y++) {
        const float *line = mask->samples + clamp(rows->base + y, mask->height - 1) * mask->stride;
        for (int64_t x = columns->base; x < end; x++) {
            int32_t bits;
            memcpy(&bits, line + x, sizeof bits);
            bits &= 0x7fffffff;
            largest = bits > largest ? bits : largest;
        }
    }
    float result;
    memcpy(&result, &largest, sizeof result);
    return result;
}
