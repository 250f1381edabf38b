"""The ProRes 4:2:2 decoder: what libavcodec gives, to the last bit, in a fraction of the time, by numba.

From the bitstream to the pixels it goes through five modules, in the terms of SMPTE RDD 36:

`codes`       the codebooks of the coefficients as look-up tables (section 7.1)
`entropy`     the coded coefficients of a slice, DC and AC, four slices side by side (section 7.1)
`transform`   dequantisation and the inverse transform, sixteen blocks side by side (sections 7.3, 7.4)
`strips`      blocks to lines, and lines to pixels of the wanted format in the caller's array
`frame`       slice headers, rows of slices, and damage: `decode`, the function called from outside
`machine`     the machine operations that numba has no word for

Three rules hold in all of them:

* All memory is the caller's. Kernels get addresses and allocate nothing, so nothing is freed under them.
* Nothing is raised. Damage is marked in a map, and the caller looks at it.
* Bytes of a damaged frame may lead anywhere within the margins that are stated beside each buffer, and
  nowhere else: every store is bounded by a comparison or by the format of the code tables.

Only `compile` imports these modules; a process that decodes loads the machine code that it made (see
`decoding.machine_code`).
"""
