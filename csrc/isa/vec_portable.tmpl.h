/* Load, store, broadcast and maximum of vec_<FC_DTYPE>, at any alignment. */

FC_INLINE FC_JOIN(vec_, FC_DTYPE) FC_JOIN(load_, FC_DTYPE)(const FC_DTYPE *source) {
    FC_JOIN(vec_, FC_DTYPE) value;
    memcpy(&value, source, sizeof value);
    return value;
}

FC_INLINE void FC_JOIN(store_, FC_DTYPE)(FC_DTYPE *target, FC_JOIN(vec_, FC_DTYPE) value) {
    memcpy(target, &value, sizeof value);
}

FC_INLINE FC_JOIN(vec_, FC_DTYPE) FC_JOIN(set1_, FC_DTYPE)(FC_DTYPE scalar) {
    const FC_JOIN(vec_, FC_DTYPE) zero = {0};
    return zero + scalar;
}

/* b where it is NaN. */
FC_INLINE FC_JOIN(vec_, FC_DTYPE)
    FC_JOIN(max_, FC_DTYPE)(FC_JOIN(vec_, FC_DTYPE) a, FC_JOIN(vec_, FC_DTYPE) b) {
    FC_DTYPE x[sizeof a / sizeof(FC_DTYPE)], y[sizeof a / sizeof(FC_DTYPE)];
    memcpy(x, &a, sizeof a);
    memcpy(y, &b, sizeof b);
    for (size_t i = 0; i < sizeof a / sizeof(FC_DTYPE); i++) y[i] = x[i] > y[i] ? x[i] : y[i];
    memcpy(&b, y, sizeof b);
    return b;
}
