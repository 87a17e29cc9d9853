# Reference figures of classical test theory and exploratory factor analysis.
# From this folder: Rscript make.R   (about a minute; writes *.csv and *.json beside itself)
suppressMessages({library(psych); library(psychTools); library(GPArotation); library(jsonlite); library(lavaan); library(semTools)})
options(warn = -1)
quiet <- function(code) { sink(nullfile()); on.exit(sink()); suppressMessages(suppressWarnings(force(code))) }
save_json <- function(x, file) write(toJSON(x, digits = 12, auto_unbox = TRUE, matrix = "rowmajor", na = "null", null = "null"), file)
plain <- function(x) { x <- unclass(x); if (is.matrix(x)) { dimnames(x) <- NULL; x } else unname(x) }

# --- data -------------------------------------------------------------------------------------------------------------
# bfi: 25 items of five factors, six categories, some answers missing (psychTools; every third person, to stay small).
bfi25 <- psychTools::bfi[seq(1, 2800, 3), 1:25]
write.csv(bfi25, "bfi.csv", row.names = FALSE, na = "")
# ability: 16 items right or wrong (psychTools); sat.act: six variables of other units (psych).
ability <- as.data.frame(psychTools::ability)[seq(1, 1525, 2), ]
write.csv(ability, "ability.csv", row.names = FALSE, na = "")
satact <- psych::sat.act
write.csv(satact, "sat_act.csv", row.names = FALSE, na = "")
# Like an experience survey: five categories, strong ceiling, categories used unequally, 3 % missing, patients of 40 clinicians.
set.seed(20240611)
n <- 600; clinician <- rep(1:40, each = 15)
g <- rnorm(n) + 0.5 * rnorm(40)[clinician]
f <- sapply(1:3, function(k) rnorm(n) + 0.3 * rnorm(40)[clinician])
group <- rep(1:3, each = 4)
latent <- sapply(1:12, function(i) 0.55 * g + c(.6, .5, .45, .55)[(i - 1) %% 4 + 1] * f[, group[i]] + 0.7 * rnorm(n))
cuts <- rbind(c(-2.6, -2.0, -1.3, -0.4), c(-2.9, -2.2, -1.6, -0.7), c(-2.3, -1.6, -0.9, -0.1))
ceiling <- sapply(1:12, function(i) as.integer(cut(latent[, i], c(-Inf, cuts[(i - 1) %% 3 + 1, ], Inf))))
colnames(ceiling) <- paste0("q", 1:12)
ceiling[, 5] <- 6L - ceiling[, 5]     # one item keyed the other way
ceiling[matrix(runif(n * 12) < .03, n)] <- NA
ceiling <- data.frame(clinician = clinician, ceiling)
write.csv(ceiling, "ceiling.csv", row.names = FALSE, na = "")
keyed <- ceiling[, -1]; keyed$q5 <- 6 - keyed$q5

# --- alpha ------------------------------------------------------------------------------------------------------------
alpha_of <- function(x, use) {
  a <- quiet(psych::alpha(x, use = use, warnings = FALSE))
  list(n = nrow(x), raw_alpha = a$total$raw_alpha, std_alpha = a$total$std.alpha, G6 = a$total$`G6(smc)`, average_r = a$total$average_r,
       median_r = a$total$median_r, feldt = c(a$feldt$lower.ci[[1]], a$feldt$upper.ci[[1]]), drop_alpha = a$alpha.drop$raw_alpha,
       drop_std = a$alpha.drop$std.alpha, r_drop = a$item.stats$r.drop, mean = a$item.stats$mean, sd = a$item.stats$sd,
       lambda2 = quiet(psych::guttman(cov2cor(cov(x, use = use))))$lambda.2)
}
scales <- list(agree = c("A1", "A2", "A3", "A4", "A5"), conscientious = c("C1", "C2", "C3", "C4", "C5"),
               extraverted = c("E1", "E2", "E3", "E4", "E5"), neurotic = c("N1", "N2", "N3", "N4", "N5"), open = c("O1", "O2", "O3", "O4", "O5"))
reversed <- c("A1", "C4", "C5", "E1", "E2", "O2", "O5")
bfi_keyed <- bfi25; bfi_keyed[reversed] <- 7 - bfi_keyed[reversed]
alphas <- list(
  bfi_pairwise = lapply(scales, function(s) alpha_of(bfi_keyed[s], "pairwise")),
  bfi_listwise = lapply(scales, function(s) alpha_of(na.omit(bfi_keyed[s]), "complete")),
  ability_listwise = list(all = alpha_of(na.omit(ability), "complete")),
  sat_act_listwise = list(sat = alpha_of(na.omit(satact[c("ACT", "SATV", "SATQ")]), "complete")),
  ceiling_listwise = list(all = alpha_of(na.omit(keyed), "complete"), first = alpha_of(na.omit(keyed[1:4]), "complete")))
d <- psych::describe(bfi25); dc <- psych::describe(ceiling[, -1])
moments <- list(bfi = list(skew = d$skew, kurtosis = d$kurtosis, mean = d$mean, sd = d$sd, n = d$n),
                ceiling = list(skew = dc$skew, kurtosis = dc$kurtosis, mean = dc$mean, sd = dc$sd, n = dc$n))
save_json(list(reversed = reversed, scales = scales, alpha = alphas, describe = moments), "alpha.json")

# --- factors ----------------------------------------------------------------------------------------------------------
solution <- function(R, n, m, fm, rotate) {
  f <- quiet(psych::fa(R, m, n.obs = n, fm = fm, rotate = rotate))
  list(n = n, n_factors = m, fm = fm, rotate = rotate, loadings = plain(f$loadings), phi = if (is.null(f$Phi)) diag(m) else plain(f$Phi),
       structure = plain(f$Structure), communality = unname(f$communality), complexity = unname(f$complexity),
       vaccounted = plain(f$Vaccounted)[1:2, , drop = FALSE], chisq = f$STATISTIC, df = f$dof, pvalue = f$PVAL, rms = f$rms, crms = f$crms,
       null_chisq = f$null.chisq, rmsea = unname(f$RMSEA), tli = f$TLI, bic = f$BIC, objective = f$objective, values = f$e.values)
}
sets <- list(bfi = list(x = na.omit(bfi25), m = 5), ability = list(x = na.omit(ability), m = 2), sat_act = list(x = na.omit(satact), m = 2),
             ceiling = list(x = na.omit(keyed), m = 3))
factors <- lapply(sets, function(s) {
  R <- cor(s$x); n <- nrow(s$x)
  runs <- list()
  for (fm in c("minres", "ml")) for (rotate in c("oblimin", "promax", "Promax", "varimax", "none"))
    runs[[paste(fm, rotate, sep = "_")]] <- solution(R, n, s$m, fm, rotate)
  k <- psych::KMO(R); b <- psych::cortest.bartlett(R, n)
  list(n = n, kmo = k$MSA, kmo_items = unname(k$MSAi), bartlett = list(chisq = b$chisq, df = b$df, pvalue = b$p.value), runs = runs)
})
save_json(factors, "factors.json")
versions <- lapply(c("psych", "psychTools", "GPArotation", "lavaan", "semTools", "jsonlite"), function(p) as.character(packageVersion(p)))
names(versions) <- c("psych", "psychTools", "GPArotation", "lavaan", "semTools", "jsonlite")
save_json(c(list(R = as.character(getRversion())), versions), "versions.json")

# --- omega ------------------------------------------------------------------------------------------------------------
omega_of <- function(R, m, fm = "minres") {
  o <- quiet(psych::omega(R, nfactors = m, fm = fm, plot = FALSE))
  list(n_groups = m, fm = fm, omega_h = o$omega_h, omega_lim = o$omega.lim, omega_total = o$omega.tot, ecv = o$ECV,
       group_total = o$omega.group$total[-1], group_general = o$omega.group$general[-1], group = o$omega.group$group[-1],
       sl = plain(o$schmid$sl), key = unname(o$key))
}
hs <- lavaan::HolzingerSwineford1939[, paste0("x", 1:9)]
omegas <- list(bfi = c(lapply(scales, function(s) omega_of(cor(na.omit(bfi_keyed[s])), 1)), list(five = omega_of(cor(na.omit(bfi25)), 5))),
               hs1939 = list(two = omega_of(cor(hs), 2), three = omega_of(cor(hs), 3), three_ml = omega_of(cor(hs), 3, "ml")),
               ability = list(one = omega_of(cor(na.omit(ability)), 1), four = omega_of(cor(na.omit(ability)), 4)),
               ceiling = list(one = omega_of(cor(na.omit(keyed)), 1), three = omega_of(cor(na.omit(keyed)), 3)))

# A confirmatory bifactor model on the simulated survey: estimates, and the reliabilities that semTools computes from them.
bifactor <- paste("g =~", paste0("q", 1:12, collapse = " + "), "\n a =~ q1 + q2 + q3 + q4 \n b =~ q5 + q6 + q7 + q8 \n c =~ q9 + q10 + q11 + q12")
fit <- lavaan::cfa(bifactor, na.omit(keyed), orthogonal = TRUE, std.lv = TRUE)
est <- lavaan::lavInspect(fit, "est")
rel <- quiet(semTools::compRelSEM(fit, return.total = TRUE)); rel_model <- quiet(semTools::compRelSEM(fit, obs.var = FALSE, return.total = TRUE))
omegas$bifactor <- list(lambda = plain(est$lambda), theta = unname(diag(est$theta)), cov = plain(lavaan::lavInspect(fit, "sampstat")$cov),
                        compRelSEM = as.list(rel), compRelSEM_model = as.list(rel_model))
# One factor per scale on covariances, ML: what semTools calls omega.
omegas$one_factor_ml <- lapply(scales, function(s) {
  f <- lavaan::cfa(paste("f =~", paste(s, collapse = " + ")), na.omit(bfi_keyed[s]), std.lv = TRUE)
  c(obs = unname(quiet(semTools::compRelSEM(f))), model = unname(quiet(semTools::compRelSEM(f, obs.var = FALSE))))
})
save_json(omegas, "omega.json")

# --- categorical omega ------------------------------------------------------------------------------------------------
categorical <- function(x, model = NULL) {
  x <- na.omit(x)
  if (is.null(model)) model <- paste("f =~", paste(names(x), collapse = " + "))
  f <- quiet(lavaan::cfa(model, x, ordered = TRUE, std.lv = TRUE))
  e <- lavaan::lavInspect(f, "est")
  list(n = nrow(x), omega = as.list(quiet(semTools::compRelSEM(f, ord.scale = TRUE))), model_implied = as.list(quiet(semTools::compRelSEM(f, ord.scale = TRUE, obs.var = FALSE))),
       lambda = plain(e$lambda), psi = plain(e$psi), tau = unname(e$tau[, 1]), correlation = plain(lavaan::lavInspect(f, "sampstat")$cov))
}
cat_omega <- c(lapply(scales, function(s) categorical(bfi_keyed[s])),
               list(ability_reason = categorical(ability[1:4]), ceiling_first = categorical(keyed[1:4]), ceiling_all = categorical(keyed),
                    ceiling_three = categorical(keyed, "a =~ q1 + q2 + q3 + q4 \n b =~ q5 + q6 + q7 + q8 \n c =~ q9 + q10 + q11 + q12")))
save_json(cat_omega, "categorical_omega.json")

# --- two levels -------------------------------------------------------------------------------------------------------
two_level <- function(x, items) {
  x <- na.omit(x[c("clinician", items)])
  half <- paste(items, collapse = " + ")
  f <- quiet(lavaan::cfa(paste0("level: 1\n fw =~ ", half, "\nlevel: 2\n fb =~ ", half), x, cluster = "clinician", std.lv = TRUE,
                         optim.method = "nlminb", em.h1.iter.max = 20000, em.h1.tol = 1e-12))
  h1 <- lavaan::lavInspect(f, "h1"); e <- lavaan::lavInspect(f, "est")
  list(items = items, n = nrow(x), converged = lavaan::lavInspect(f, "converged"), within = plain(h1$within$cov), between = plain(h1[[2]]$cov), means = unname(h1$within$mean + h1[[2]]$mean),
       logl_h1 = unname(lavaan::fitMeasures(f, "unrestricted.logl")), chisq = unname(lavaan::fitMeasures(f, "chisq")), df = unname(lavaan::fitMeasures(f, "df")),
       pvalue = unname(lavaan::fitMeasures(f, "pvalue")),
       lambda_w = plain(e$within$lambda)[, 1], theta_w = unname(diag(e$within$theta)), lambda_b = plain(e[[2]]$lambda)[, 1], theta_b = unname(diag(e[[2]]$theta)),
       compRelSEM = quiet(semTools::compRelSEM(f, shared = "fb")), icc = unname(lavaan::lavInspect(f, "icc")))
}
# Strong differences between clinicians, unequal cluster sizes, continuous answers; and the survey above.
set.seed(77)
sizes <- rep(c(4, 7, 12, 20), 20); cl <- rep(seq_along(sizes), sizes); N <- length(cl)
fb <- rnorm(80); fw <- rnorm(N)
levels_data <- round(data.frame(clinician = cl, sapply(1:5, function(i) 3 + c(.8, .6, .7, .5, .9)[i] * fb[cl] + 0.4 * rnorm(80)[cl] + c(1, .8, .6, .9, .7)[i] * fw + rnorm(N))), 3)
names(levels_data) <- c("clinician", paste0("y", 1:5))
write.csv(levels_data, "levels.csv", row.names = FALSE)
save_json(list(three = two_level(levels_data, c("y1", "y2", "y3")), five = two_level(levels_data, paste0("y", 1:5))), "levels.json")
