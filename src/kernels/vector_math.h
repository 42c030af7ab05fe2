// SPDX-License-Identifier: Apache-2.0
// Elementary functions on a vector type V (scalar/, avx2/ and avx512/ each bring one, in an anonymous namespace: the
// instantiations stay inside the unit that was compiled for that instruction set).
#pragma once

namespace autoglm::kernels {

#define AUTOGLM_KERNEL_INLINE inline __attribute__((always_inline))

/// e^x within 1.5 ulp for x in [-87, 88]; exactly 1 at 0; 0 below -87, e^88 above 88; NaN stays NaN.
///   Source   x = n ln 2 + r with ln 2 in two parts (Cody and Waite 1980), |r| <= ln 2 / 2. The polynomial is
///            1 + r + r^2 q(r); q interpolates (e^r - 1 - r) / r^2 at the five Chebyshev nodes of that interval, which
///            leaves a relative error of 1.1e-8.
template <typename V>
AUTOGLM_KERNEL_INLINE typename V::F exp(typename V::F x) {
  using F = typename V::F;
  // max and min give their second operand when one is NaN, so a NaN passes both and reaches the product.
  const F low = V::set(-87.0f);
  const F bounded = V::max(low, V::min(V::set(88.0f), x));
  const F n = V::round(V::mul(bounded, V::set(1.44269504f)));
  F r = V::fma(n, V::set(-0.693359375f), bounded);
  r = V::fma(n, V::set(2.12194440e-4f), r);
  F q = V::set(0.00139262131f);
  q = V::fma(q, r, V::set(0.00836320315f));
  q = V::fma(q, r, V::set(0.0416665561f));
  q = V::fma(q, r, V::set(0.166665763f));
  q = V::fma(q, r, V::set(0.5f));
  const F p = V::add(V::fma(V::mul(r, r), q, r), V::set(1.0f));
  return V::select_less(x, low, V::zero(), V::times_pow2(p, n));
}

/// tanh x within 2.5 ulp.
///   Source   below 0.625 an odd polynomial x + x^3 t(x^2), t interpolated at five Chebyshev nodes (relative error
///            1.7e-8); above it 1 - 2 / (e^2|x| + 1) with the sign of x.
template <typename V>
AUTOGLM_KERNEL_INLINE typename V::F tanh(typename V::F x) {
  using F = typename V::F;
  const F magnitude = V::abs(x);
  const F z = V::mul(x, x);
  F t = V::set(-0.00609671418f);
  t = V::fma(t, z, V::set(0.0209971797f));
  t = V::fma(t, z, V::set(-0.0538509078f));
  t = V::fma(t, z, V::set(0.133327693f));
  t = V::fma(t, z, V::set(-0.333333284f));
  const F small = V::fma(V::mul(x, z), t, x);
  const F one = V::set(1.0f);
  const F e = exp<V>(V::add(magnitude, magnitude));
  const F large = V::sub(one, V::div(V::set(2.0f), V::add(e, one)));
  const F signed_large = V::select_less(x, V::zero(), V::sub(V::zero(), large), large);
  return V::select_less(magnitude, V::set(0.625f), small, signed_large);
}

/// x / (1 + e^-x).
template <typename V>
AUTOGLM_KERNEL_INLINE typename V::F silu(typename V::F x) {
  return V::div(x, V::add(V::set(1.0f), exp<V>(V::sub(V::zero(), x))));
}

/// x/2 (1 + tanh u) with u = sqrt(2/pi) (x + 0.044715 x^3), which equals x / (1 + e^-2u) without its cancellation.
///   Source   the tanh form of GELU, Hendrycks and Gimpel 2016, arXiv:1606.08415
template <typename V>
AUTOGLM_KERNEL_INLINE typename V::F gelu_tanh(typename V::F x) {
  using F = typename V::F;
  const F cube = V::mul(V::mul(x, x), x);
  const F inner = V::fma(cube, V::set(0.044715f), x);
  const F minus_two_u = V::mul(inner, V::set(-1.59576912f));  // 2 sqrt(2/pi)
  return V::div(x, V::add(V::set(1.0f), exp<V>(minus_two_u)));
}

/// x Phi(x) with Phi the normal distribution's: x (1 - h) above zero and x h below, with h = erfc(|x| / sqrt 2) / 2, so
/// that nothing cancels. h is within 2e-7 of itself, besides what rounding x^2 / 2 moves its exponent.
///   Source   GELU, Hendrycks and Gimpel 2016, arXiv:1606.08415. erfc(z) = t exp(-z^2 + p(t)) with t = 1 / (1 + z / 2);
///   p
///            interpolates log(erfc(z) / t) + z^2 at the ten Chebyshev nodes of 0 <= z <= 9.5, which leaves a relative
///            error of 9e-8. Above that it is zero.
template <typename V>
AUTOGLM_KERNEL_INLINE typename V::F gelu(typename V::F x) {
  using F = typename V::F;
  const F one = V::set(1.0f);
  const F t = V::div(one, V::fma(V::abs(x), V::set(0.353553391f), one));  // 1 / (2 sqrt 2)
  F p = V::set(0.143224678f);
  p = V::fma(p, t, V::set(-0.671311091f));
  p = V::fma(p, t, V::set(1.13369784f));
  p = V::fma(p, t, V::set(-0.66457127f));
  p = V::fma(p, t, V::set(-0.107486592f));
  p = V::fma(p, t, V::set(0.0163509992f));
  p = V::fma(p, t, V::set(0.0292226816f));
  p = V::fma(p, t, V::set(0.387826407f));
  p = V::fma(p, t, V::set(0.998486768f));
  p = V::fma(p, t, V::set(-1.26544038f));
  const F half = V::set(0.5f);
  const F upper = V::mul(V::mul(half, t), exp<V>(V::fma(V::mul(x, x), V::set(-0.5f), p)));
  return V::mul(x, V::select_less(x, V::zero(), upper, V::sub(one, upper)));
}

}  // namespace autoglm::kernels
