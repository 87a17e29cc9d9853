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
