# Polynomial regression and response surface: lm, clubSandwich's CR2, delta method written out. Run here: Rscript make.R
suppressMessages({library(clubSandwich); library(jsonlite)})
set.seed(31)
K <- 35; n <- sample(4:14, K, TRUE); cl <- rep(seq_len(K), n); N <- length(cl)
P <- 50 + 18 * (.4 * rnorm(K)[cl] + rnorm(N)); C <- 55 + 16 * (.7 * rnorm(K)[cl] + .4 * (P - 50) / 18 + .7 * rnorm(N))
P <- round(pmin(pmax(P, 0), 100), 2); C <- round(pmin(pmax(C, 0), 100), 2)
X <- P - 50; Y <- C - 50
Z <- round(60 + .15 * X + .10 * Y - .006 * X^2 + .010 * X * Y - .005 * Y^2 + 4 * rnorm(K)[cl] + 8 * rnorm(N), 3)
write.csv(data.frame(cl = sprintf("C%02d", cl), patient = P, clinician = C, trust = Z), "surface.csv", row.names = FALSE, quote = FALSE)
d <- read.csv("surface.csv"); d$X <- d$patient - 50; d$Y <- d$clinician - 50; d$Z <- d$trust
full <- lm(Z ~ X + Y + I(X^2) + I(X * Y) + I(Y^2), d)
V <- as.matrix(vcovCR(full, cluster = d$cl, type = "CR2")); b <- coef(full)
expressions <- list(
  a1 = quote(b1 + b2), a2 = quote(b3 + b4 + b5), a3 = quote(b1 - b2), a4 = quote(b3 - b4 + b5), a5 = quote(b3 - b5),
  x0 = quote((b2 * b4 - 2 * b1 * b5) / (4 * b3 * b5 - b4^2)), y0 = quote((b1 * b4 - 2 * b2 * b3) / (4 * b3 * b5 - b4^2)),
  p11 = quote((b5 - b3 + sqrt((b3 - b5)^2 + b4^2)) / b4),
  p10 = quote((b1 * b4 - 2 * b2 * b3) / (4 * b3 * b5 - b4^2) - (b5 - b3 + sqrt((b3 - b5)^2 + b4^2)) / b4 * (b2 * b4 - 2 * b1 * b5) / (4 * b3 * b5 - b4^2)),
  p21 = quote((b5 - b3 - sqrt((b3 - b5)^2 + b4^2)) / b4),
  p20 = quote((b1 * b4 - 2 * b2 * b3) / (4 * b3 * b5 - b4^2) - (b5 - b3 - sqrt((b3 - b5)^2 + b4^2)) / b4 * (b2 * b4 - 2 * b1 * b5) / (4 * b3 * b5 - b4^2)))
names(b) <- paste0("b", 0:5)
delta <- lapply(expressions, function(e) {
  f <- deriv(e, names(b)); value <- eval(f, as.list(b)); g <- attr(value, "gradient")
  g <- as.vector(g); list(est = as.numeric(value), se = sqrt(drop(g %*% V %*% g)))
})
rivals <- list(full = full, additive = lm(Z ~ X + Y, d), "patient only" = lm(Z ~ X, d), "clinician only" = lm(Z ~ Y, d),
  difference = lm(Z ~ I(Y - X), d), "squared difference" = lm(Z ~ I((Y - X)^2), d), null = lm(Z ~ 1, d))
compare <- lapply(rivals, function(m) {
  list(aic = AIC(m), loglik = as.numeric(logLik(m)), r2 = summary(m)$r.squared,
       chisq = 2 * (as.numeric(logLik(full)) - as.numeric(logLik(m))), df = attr(logLik(full), "df") - attr(logLik(m), "df"))
})
cond <- lm(Z ~ Y + X, d); Vc <- as.matrix(vcovCR(cond, cluster = d$cl, type = "CR2")); c1 <- coef(cond)[2]; c2 <- coef(cond)[3]
L <- c(0, sign(c1 - c2) - sign(c1 + c2), -sign(c1 - c2) - sign(c1 + c2))
ct <- coef_test(full, vcov = vcovCR(full, cluster = d$cl, type = "CR2"), test = "Satterthwaite")
htz <- function(C) { w <- Wald_test(full, constraints = C, vcov = vcovCR(full, cluster = d$cl, type = "CR2"), test = "HTZ"); list(F = w$Fstat, df = w$df_denom, p = w$p_val) }
C3 <- diag(6)[4:6, ]
sq <- rbind(c(0,1,0,0,0,0), c(0,0,1,0,0,0), c(0,0,0,1,0,-1), c(0,0,0,2,1,0))
zx <- scale(d$patient); zy <- scale(d$clinician); gap <- zy - zx
write_json(list(versions = list(R = as.character(getRversion()), clubSandwich = as.character(packageVersion("clubSandwich"))),
  b = unname(b), se = ct$SE, vcov = unname(V), delta = delta, rivals = compare,
  additive_HTZ = htz(C3), squared_HTZ = htz(sq),
  condition = list(c_clinician = unname(c1), c_patient = unname(c2), abs = unname(abs(c1 - c2) - abs(c1 + c2)), se = sqrt(drop(L %*% Vc %*% L))),
  counts = list(clinician_higher = sum(gap > .5), patient_higher = sum(gap < -.5), alike = sum(abs(gap) <= .5))),
  "surface.json", digits = 12, auto_unbox = TRUE, matrix = "rowmajor")
